"""How processes change and end, as ``control/transitions.py`` and ``control/outcomes.py`` do it, over dictionaries."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from contracts.identity import Coordinate
from contracts.reasons import Reason
from contracts.states import State
from contracts.storage import commit_key, dataset_prefix
from control.rules.endings import by_decision, is_open
from control.snapshots import FoundCommit, commit_in, coordinate_of
from control.transitions import begun_anew, callback_of, consequences, listeners
from resources.lake.store import LakeError
from tests.model.rows import Row
from tests.model.tasks import pause
from tests.model.world import World


class Endings:
    """One row in every table for each move, and the last look before an end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = world.rows
        self.decide = world.decisions

    def move(
        self,
        process_id: UUID,
        to: State,
        *,
        attempt: int | None = None,
        detail: Mapping[str, Any] | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> Row | None:
        """See control.transitions.move; inside a transaction."""
        old, now = self.rows.now.processes[process_id], self.world.clock()
        if State(old["state"]) not in self.decide.allowed_before(to) or attempt not in {None, old["attempt"]}:
            return None
        row = self.rows.change(process_id, **consequences(to, now), **(columns or {}))
        self.rows.note(row, to.value, now, detail)
        if to is State.ACCEPTED:
            self.rows.now.outbox[process_id] = row["attempt"]
        if to.is_terminal:
            self.rows.now.outbox.pop(process_id, None)
            subscribed = [url for owner, url in self.rows.now.subscribers if owner == process_id]
            for url in listeners(row, subscribed):
                self.deliver(row, url)
        return row

    def deliver(self, row: Row, url: str) -> None:
        """See control.transitions.deliver."""
        number = self.decide.webhook_id(row["id"], State(row["state"]), url)
        body = callback_of(row, self.rows.events_of(row["id"], row["attempt"])).model_dump_json()
        delivery = {"id": number, "process_id": row["id"], "url": url, "body": body, "state": "pending", "tries": 0}
        self.rows.now.deliveries.setdefault(number, {**delivery, "next_try_at": self.world.clock()})

    def settle_by_commit(self, process_id: UUID) -> bool:
        """See control.outcomes.settle_by_commit."""
        row = self.rows.now.processes[process_id]
        if row["state"] == State.SUCCEEDED:
            return True
        pause("before the look")
        found = self.read_commit(coordinate_of(row))
        pause("after the look")
        if found is None:
            return State(row["state"]).is_terminal
        with self.rows.transaction() as tables:
            tables.snapshots[commit_key(coordinate_of(row))] = {"process_id": found.commit.provenance.process_id}
            end = self.decide.by_commit(row, found)
            self.move(process_id, end.state, detail=end.detail, columns=end.columns)
        return True

    def end_attempt(self, process_id: UUID, attempt: int, reason: Reason, detail: Mapping[str, Any]) -> None:
        """See control.outcomes.end_attempt."""
        if self._without_lake(self.settle_by_commit, process_id):
            return
        with self.rows.transaction():
            row = self.rows.now.processes[process_id]
            if not is_open(row) or row["attempt"] != attempt:
                return
            self.rows.note(
                row, "attempt_failed", self.world.clock(), {"reason": reason.model_dump(mode="json"), **detail}
            )
            delay = self.decide.next_delay(attempt, reason, self.world.settings.max_attempts)
            if delay is not None:
                self._next_attempt(process_id, attempt, reason, delay)
                return
            self._decide(row, State.FAILED, reason)
        self._without_lake(self.finish_pending, process_id)

    def end_process(self, process_id: UUID, state: State, reason: Reason | None) -> None:
        """See control.outcomes.end_process."""
        with self.rows.transaction():
            row = self.rows.now.processes[process_id]
            is_decided = is_open(row)
            if is_decided:
                self._decide(row, state, reason)
        if is_decided:
            self._without_lake(self.finish_pending, process_id)

    def finish_pending(self, process_id: UUID) -> bool:
        """See control.outcomes.finish_pending."""
        if not self._is_due(process_id):
            return False
        if self.decide.last_look(lambda: self.settle_by_commit(process_id)):
            return True
        with self.rows.transaction():
            if self._is_due(process_id):
                end = by_decision(self.rows.now.processes[process_id])
                self.move(process_id, end.state, detail=end.detail, columns=end.columns)
        return True

    def try_to_settle(self, process_id: UUID) -> None:
        """Do as ``settle_by_commit`` does; what cannot be read now the reconciler reads later."""
        self._without_lake(self.settle_by_commit, process_id)

    def read_commit(self, place: Coordinate) -> FoundCommit | None:
        """See control.snapshots.read_commit. Raises LakeError."""
        data = self.world.store.get(commit_key(place))
        return None if data is None else commit_in(data, place, self.world.store.url(dataset_prefix(place)))

    def _is_due(self, process_id: UUID) -> bool:
        return self.decide.is_due(self.rows.now.processes[process_id], self.world.clock(), self.world.settings)

    def _next_attempt(self, process_id: UUID, attempt: int, reason: Reason, delay: timedelta) -> None:
        columns = begun_anew(attempt + 1, self.world.clock() + delay)
        detail = {"reason": reason.model_dump(mode="json")}
        self.move(process_id, State.ACCEPTED, attempt=attempt, detail=detail, columns=columns)

    def _decide(self, row: Row, state: State, reason: Reason | None) -> None:
        said = reason and reason.model_dump(mode="json")
        self.rows.change(row["id"], ending={"state": state.value, "reason": said})
        self.rows.note(row, "ending", self.world.clock(), {"state": state.value})

    @staticmethod
    def _without_lake(step: Any, process_id: UUID) -> bool:
        try:
            return bool(step(process_id))
        except LakeError:
            return False  # the reconciler tries again
