"""Intake, as ``control/log/intake.py`` does it, over dictionaries."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from contracts.intake import IntakeAnswer, IntakeRequest, Launch, LogRecord, RecordAnswer, Verdict
from contracts.messages import Profile, ReleaseRecord
from contracts.states import State
from control.log.dead_letters import read_record
from control.rules.dead import DeadRecordError
from control.rules.launching import known
from tests.model.endings import Endings
from tests.model.history import Judged, Missed
from tests.model.rows import Row
from tests.model.world import CATALOGUE, World


class Intake:
    """One tick's records, judged in one transaction."""

    def __init__(self, world: World, endings: Endings) -> None:
        self.world = world
        self.rows = world.rows
        self.endings = endings

    def take(self, request: IntakeRequest) -> IntakeAnswer:
        """See control.log.intake.take."""
        with self.rows.transaction():
            self._note_position(request)
            answers = [self._judge(record, request.actions) for record in request.records]
        for gap in request.gaps:
            self.world.history.append(Missed(gap.topic_id, gap.partition, gap.expected, gap.found))
        for answer in answers:
            launch = answer.launch
            of = () if launch is None else (launch.process_id, launch.attempt, launch.launch_id)
            self.world.history.append(Judged(answer.position, answer.verdict, *of))
        return IntakeAnswer(answers=answers)

    def _note_position(self, request: IntakeRequest) -> None:
        tables, now = self.rows.now, self.world.clock()
        for position in request.persisted.topics.values():
            for partition, offset in position.next_offsets.items():
                here = tables.cursors.get(partition)
                is_same = here is not None and here["topic_id"] == position.topic_id
                furthest = max(here["next_offset"], offset) if here is not None and is_same else offset
                tables.cursors[partition] = {"topic_id": position.topic_id, "next_offset": furthest, "seen_at": now}
        for gap in request.gaps:
            here = tables.cursors.get(gap.partition)
            if (
                here is not None
                and here["topic_id"] == gap.topic_id
                and gap.found < min(gap.expected, here["next_offset"])
            ):
                tables.cursors[gap.partition] = {**here, "next_offset": gap.found}

    def _judge(self, record: LogRecord, offered: Mapping[str, str]) -> RecordAnswer:
        try:
            released = read_record(record)
            return self._answer(record, released, offered)
        except DeadRecordError as error:
            at = record.position
            self.rows.now.dead_letters[at.topic_id, at.partition, at.offset] = {"code": error.code}
            return RecordAnswer.of(record, Verdict.DEAD, str(error))

    def _answer(self, record: LogRecord, released: ReleaseRecord, offered: Mapping[str, str]) -> RecordAnswer:
        row = self.rows.now.processes.get(released.process_id)
        known(row, released)
        assert row is not None
        judged = self.world.decisions.judge(row, released, offered, CATALOGUE)
        if judged.verdict is not Verdict.LAUNCH:
            return RecordAnswer(position=record.position, verdict=judged.verdict, reason=judged.reason)
        at = record.position
        place = {"topic_id": at.topic_id, "log_partition": at.partition, "log_offset": at.offset}
        if row["released_at"] is None:
            self.rows.change(row["id"], released_at=self.world.clock(), **place)
            if self.rows.now.outbox.get(row["id"]) == row["attempt"]:
                del self.rows.now.outbox[row["id"]]
        facts = {name: row[name] for name in ("action", "entity_id", "data_version", "attempt")}
        launch_id = self._launch(row, place)
        launch = Launch.model_validate({**facts, "launch_id": launch_id, "process_id": row["id"], "profile": Profile()})
        return RecordAnswer(position=at, verdict=Verdict.LAUNCH, launch=launch)

    def _launch(self, row: Row, place: Mapping[str, Any]) -> UUID:
        tables, of_attempt = self.rows.now, (row["id"], row["attempt"])
        if row["launch_id"] is not None:
            tables.launches[of_attempt] = {**tables.launches[of_attempt], **place}
            found: UUID = row["launch_id"]
            return found
        new = self.world.new_id()
        tables.launches[of_attempt] = {"launch_id": new, "launched_at": self.world.clock(), **place}
        self.endings.move(row["id"], State.QUEUED, attempt=row["attempt"], columns={"launch_id": new})
        return new
