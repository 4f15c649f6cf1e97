"""The worker: release, reconcile and callbacks, as ``control/`` does them, over dictionaries. Two may be at it."""

from collections.abc import Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any

from contracts.intake import LogPosition
from contracts.states import ACTIVE, State
from contracts.views import RunStatus
from control.callbacks.claims import LEASE
from control.callbacks.schedule import MAX_TRIES, CallbackVerdict, DeliveryState
from control.callbacks.sending import signed_headers
from control.releasing.release import record_of
from control.rules.reconciling import (
    Cursors,
    FoundRuns,
    Passed,
    Step,
    deadline_reason,
    died_reason,
    has_moved_on,
    lost_reason,
    needs_lake,
    resend_delay,
    subject_of,
)
from resources.lake.store import LakeError
from tests.model.compute import Dagster
from tests.model.endings import Endings
from tests.model.fair_order import fill
from tests.model.history import Picked
from tests.model.receiver import Receiver
from tests.model.rows import Row
from tests.model.tasks import Task, current_task, pause
from tests.model.world import SECRET, TENANTS, World


class Worker:
    """Whatever it does may end anywhere."""

    def __init__(self, world: World, endings: Endings, dagster: Dagster, receiver: Receiver) -> None:
        self.world = world
        self.rows = world.rows
        self.endings = endings
        self.dagster = dagster
        self.receiver = receiver
        self.unacknowledged = 0
        """How many acknowledgements the next release loses."""
        self._releasing: Task | None = None
        """Who holds the advisory lock; a dead one holds nothing."""

    def release(self) -> None:
        """See control.releasing.release.release_once."""
        if self._releasing is not None and not self._releasing.is_over:
            return
        self._releasing = current_task()
        picked = self._pick()
        if picked:
            pause("R1")
            records = [record for record in map(record_of, picked) if record is not None]
            positions = _at_once(self.world.log.publish(records))
            pause("R2")
            for index in range(min(self.unacknowledged, len(positions))):
                positions[index] = None
            self.unacknowledged = 0
            acked = self.world.decisions.acknowledged(picked, positions)
            pause("R3")
            self._mark(acked)
        self._releasing = None

    def _pick(self) -> list[Row]:
        tables, now = self.rows.now, self.world.clock()
        flying = [row for row in tables.processes.values() if _is_in_flight(row)]
        waiting = [
            {**row, "cores": 1}
            for row in tables.processes.values()
            if tables.outbox.get(row["id"]) == row["attempt"]
            and row["released_at"] is None
            and row["state"] == State.ACCEPTED
            and row["ending"] is None
            and row["not_before"] <= now
        ]
        room = self.world.settings.max_in_flight - len(flying)
        limits = {name: tenant.limits for name, tenant in TENANTS.items()}
        chosen = fill(room, waiting, [{**row, "cores": 1} for row in flying], limits)
        if chosen:
            counts = {name: sum(row["tenant_id"] == name for row in flying) for name in TENANTS}
            self.world.history.append(Picked(chosen, {row["id"]: row["tenant_id"] for row in waiting}, counts, room))
        return [tables.processes[process_id] for process_id in chosen]

    def _mark(self, acked: Sequence[tuple[Row, LogPosition | None]]) -> None:
        with self.rows.transaction() as tables:
            for sent, at in acked:
                row = tables.processes.get(sent["id"])
                if row is not None and row["attempt"] == sent["attempt"] and State(row["state"]) in ACTIVE:
                    now = self.world.clock()
                    place = {name: at and getattr(at, of) for name, of in _PLACE.items()}
                    self.rows.change(row["id"], released_at=now, updated_at=now, **place)
                    self.rows.note(row, "released", now)
                if tables.outbox.get(sent["id"]) == sent["attempt"]:
                    del tables.outbox[sent["id"]]

    def reconcile(self) -> None:
        """See control.reconciling.reconciler."""
        known = Cursors(
            [
                Passed(partition, row["topic_id"], row["next_offset"], row["seen_at"])
                for partition, row in self.rows.now.cursors.items()
            ]
        )
        rows = [self._seen(row) for row in self.rows.now.processes.values() if self._is_worth(row)]
        pause("rows read")
        found = self.dagster.find_runs(rows)
        pause("runs read")
        for row in rows:
            try:
                self._reconcile_one(row, known, found)
            except LakeError:
                continue

    def _reconcile_one(self, row: Row, known: Cursors, found: FoundRuns | None) -> None:
        if needs_lake(row) and self.endings.settle_by_commit(row["id"]):
            return
        run = None if found is None else found.of(row["launch_id"], row["run_id"])
        step = self.world.decisions.reconcile(subject_of(row), known, run, runs_known=found is not None)
        self._take(step, row, run)

    def _take(self, step: Step, row: Row, run: RunStatus | None) -> None:
        match step:
            case Step.NOTHING:
                return
            case Step.FINISH:
                self.endings.finish_pending(row["id"])
            case Step.EXPIRE:
                self.endings.end_process(row["id"], State.EXPIRED, deadline_reason(row["deadline_at"]))
            case Step.RESEND:
                self._resend(row)
            case Step.LOST | Step.DIED:
                reason = lost_reason() if run is None or step is Step.LOST else died_reason(run)
                detail = {"run_id": run.run_id} if run else {}
                self.endings.end_attempt(row["id"], row["attempt"], reason, detail)

    def _is_worth(self, row: Row) -> bool:
        if State(row["state"]).is_terminal:
            return False
        is_overdue = row["deadline_at"] <= self.world.clock()
        is_waiting = row["state"] == State.ACCEPTED and row["released_at"] is None and row["attempt"] == 1
        return not is_waiting or row["ending"] is not None or is_overdue

    def _seen(self, row: Row) -> Row:
        launch: Mapping[str, Any] = self.rows.now.launches.get((row["id"], row["attempt"]), {})
        return {
            **row,
            "launch_topic_id": launch.get("topic_id"),
            "launch_partition": launch.get("log_partition"),
            "launch_offset": launch.get("log_offset"),
            "launched_at": launch.get("launched_at"),
            "is_overdue": row["deadline_at"] <= self.world.clock(),
        }

    def _resend(self, seen: Row) -> None:
        with self.rows.transaction() as tables:
            row, now = tables.processes[seen["id"]], self.world.clock()
            if has_moved_on(row, seen):
                return
            events = self.rows.events_of(row["id"], row["attempt"])
            delay = resend_delay(sum(event["kind"] == "resent" for event in events))
            blank = dict.fromkeys(("released_at", "topic_id", "log_partition", "log_offset"))
            self.rows.change(row["id"], **blank, not_before=now + delay, updated_at=now)
            tables.outbox[row["id"]] = row["attempt"]
            self.rows.note(row, "resent", now)

    def deliver(self) -> None:
        """See control.callbacks.sending: one claim, its tries, their marks."""
        for claimed in self._claim():
            pause("C1")
            at = self.world.clock()
            outcome = self.receiver.send(
                claimed["url"], claimed["body"], signed_headers(claimed["id"], claimed["body"], [SECRET], at)
            )
            pause("C3")
            self._mark_try(claimed, self.world.decisions.after_try(claimed["tries"], outcome, 0.5))

    def _claim(self) -> list[Row]:
        with self.rows.transaction() as tables:
            now = self.world.clock()
            due = [row for row in tables.deliveries.values() if row["state"] == "pending" and row["next_try_at"] <= now]
            claimed = [{**row, "tries": row["tries"] + 1, "next_try_at": now + LEASE} for row in due]
            for row in claimed:
                tables.deliveries[row["id"]] = row
        for row in claimed:
            if row["tries"] > MAX_TRIES:
                self._mark_try(row, CallbackVerdict(DeliveryState.EXHAUSTED))
        return [row for row in claimed if row["tries"] <= MAX_TRIES]

    def _mark_try(self, claimed: Row, verdict: CallbackVerdict) -> None:
        with self.rows.transaction() as tables:
            row = tables.deliveries.get(claimed["id"])
            if row is None or row["state"] != DeliveryState.PENDING:
                return
            if verdict.state is DeliveryState.DELIVERED or row["tries"] == claimed["tries"]:
                again = self.world.clock() + (verdict.delay or timedelta())
                tables.deliveries[row["id"]] = {**row, "state": verdict.state.value, "next_try_at": again}


def _is_in_flight(row: Row) -> bool:
    return row["released_at"] is not None and State(row["state"]) in ACTIVE


_PLACE = {"topic_id": "topic_id", "log_partition": "partition", "log_offset": "offset"}


def _at_once(call: Coroutine[Any, Any, list[LogPosition | None]]) -> list[LogPosition | None]:
    """Return what a call that waits for nothing answers."""
    try:
        call.send(None)
    except StopIteration as answer:
        found: list[LogPosition | None] = answer.value
        return found
    raise AssertionError("it waits")
