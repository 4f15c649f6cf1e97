"""The API: accepting, cancelling and reports, as ``control/`` does them, over dictionaries."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from contracts.identity import Coordinate
from contracts.messages import ProcessRequest, Profile
from contracts.problems import ProblemError
from contracts.reports import Event, LaunchMembers, Report, ReportAnswer
from contracts.states import ACTIVE, State
from contracts.storage import commit_key
from contracts.tenancy import Tenant
from contracts.views import Accepted, GrantedProfile
from control.accepting.submission import Submission
from control.reports import member_of
from control.requests import RETRIABLE
from control.rules import gates
from resources.lake.store import LakeError
from tests.model.endings import Endings
from tests.model.history import Answered
from tests.model.rows import Row
from tests.model.tasks import doom, pause
from tests.model.world import CATALOGUE, World

_GRANT = GrantedProfile(requested=None, granted=Profile(), reason="the action's own profile, 'small'")
_LAUNCHED = frozenset({State.QUEUED, State.RUNNING})


class Api:
    """What requesters and runs call."""

    def __init__(self, world: World, endings: Endings) -> None:
        self.world = world
        self.rows = world.rows
        self.endings = endings

    def submit(self, tenant: Tenant, request: ProcessRequest, key: str | None, retry_of: UUID | None = None) -> UUID:
        """See control.accepting.accept. Raises ProblemError."""
        with self.rows.transaction():
            body = self._accept(Submission(tenant, request, "tenant", key, retry_of=retry_of))
        pause("A3")
        process_id = UUID(body["process_id"])
        self.world.history.append(Answered(tenant.id, key, process_id, body))
        return process_id

    def _accept(self, asked: Submission) -> Mapping[str, Any]:
        tables, now, request = self.rows.now, self.world.clock(), asked.request
        place = Coordinate(request.entity_id, request.data_version, CATALOGUE.dataset)
        if asked.key is not None and (first := tables.keys.get((asked.tenant.id, asked.key))):
            if first["request_hash"] != asked.key_hash():
                raise ProblemError("idempotency_key_reused", "another body")
            body: Mapping[str, Any] = first["response"]
            return body
        row = self._row(asked, place)
        told = ("state", "entity_id", "data_version", "action", "dataset", "deadline_at")
        facts = {**{name: row[name] for name in told}, "process_id": row["id"], "accepted_at": now, "links": {}}
        body = Accepted.model_validate(facts).model_dump(mode="json")
        if asked.key is not None:
            claimed = {"process_id": row["id"], "request_hash": asked.key_hash(), "response": body}
            tables.keys[asked.tenant.id, asked.key] = claimed
        if any(State(other["state"]) in ACTIVE and _place(other) == place for other in tables.processes.values()):
            raise ProblemError("process_active", f"{place}")
        tables.processes[row["id"]] = row
        doom("A1")
        if commit_key(place) in tables.snapshots:
            raise ProblemError("version_already_published", f"{place}")
        tables.outbox[row["id"]] = 1
        doom("A2")
        self.rows.note(row, "accepted", now)
        return body

    def _row(self, asked: Submission, place: Coordinate) -> Row:
        now, request = self.world.clock(), asked.request
        columns = ("released_at", "topic_id", "log_partition", "log_offset", "launch_id", "run_id")
        later = ("permit_token", "permit_until", "ending", "reason", "artifact", "finished_at")
        return {
            **dict.fromkeys((*columns, *later)),
            "id": self.world.new_id(),
            "tenant_id": asked.tenant.id,
            "entity_id": place.entity_id,
            "data_version": place.data_version,
            "dataset": place.dataset,
            "action": CATALOGUE.name,
            "action_digest": CATALOGUE.digest,
            "request": request.model_dump(mode="json"),
            "request_hash": request.request_hash(),
            "callback_url": request.callback_url,
            "profile": _GRANT.model_dump(mode="json"),
            "priority": request.priority,
            "state": State.ACCEPTED.value,
            "attempt": 1,
            "not_before": now,
            "created_at": now,
            "updated_at": now,
            "deadline_at": now + timedelta(seconds=request.deadline_seconds),
        }

    def cancel(self, process_id: UUID) -> None:
        """See control.requests.cancel."""
        if not State(self.rows.now.processes[process_id]["state"]).is_terminal:
            self.endings.end_process(process_id, State.CANCELLED, None)

    def retry(self, tenant: Tenant, process_id: UUID) -> UUID | None:
        """See control.requests.retry; None for a process that cannot be retried."""
        row = self.rows.now.processes[process_id]
        if State(row["state"]) not in RETRIABLE:
            return None
        return self.submit(tenant, ProcessRequest.model_validate(row["request"]), None, retry_of=process_id)

    def subscribe(self, process_id: UUID, url: str) -> None:
        """Let ``url`` hear of the end too; see control.accepting.existing."""
        with self.rows.transaction() as tables:
            row = tables.processes[process_id]
            if State(row["state"]).is_terminal:
                self.endings.deliver(row, url)
            else:
                tables.subscribers[process_id, url] = None

    def redeliver(self, process_id: UUID) -> None:
        """See control.callbacks.deliveries.redeliver."""
        with self.rows.transaction() as tables:
            again = {"state": "pending", "tries": 0, "next_try_at": self.world.clock()}
            sent = [row for row in tables.deliveries.values() if row["process_id"] == process_id]
            tables.deliveries.update({row["id"]: {**row, **again} for row in sent})

    def members(self, launch_id: UUID) -> LaunchMembers:
        """See control.reports.launch_members."""
        launched = [of for of, row in self.rows.now.launches.items() if row["launch_id"] == launch_id]
        rows = [self.rows.now.processes[process_id] for process_id, _ in launched]
        is_current = [row["attempt"] == attempt for row, (_, attempt) in zip(rows, launched, strict=True)]
        wanted = [row for row, current in zip(rows, is_current, strict=True) if current and _is_wanted(row)]
        return LaunchMembers(launch_id=launch_id, members=[member_of(row) for row in wanted])

    def receive(self, report: Report) -> ReportAnswer:
        """See control.reports.receive. Raises ProblemError."""
        if report.process_id is None or report.attempt is None:
            return self._published(report)
        row = self.rows.now.processes.get(report.process_id)
        if row is None:
            raise ProblemError("not_found", "there is no such process")
        match report.event:
            case Event.STARTED:
                self._started(report.process_id, report.attempt, report)
            case Event.COMMITTING:
                return self._committing(report.process_id, report.attempt, report)
            case Event.SUCCEEDED:
                self.endings.try_to_settle(report.process_id)
            case Event.FAILED if gates.counts(row, report):
                assert report.reason is not None
                self.endings.end_attempt(report.process_id, report.attempt, report.reason, {"run_id": report.run_id})
        return ReportAnswer()

    def _published(self, report: Report) -> ReportAnswer:
        place = Coordinate(str(report.entity_id), str(report.data_version), str(report.dataset))
        try:
            found = self.endings.read_commit(place)
        except LakeError as error:
            raise ProblemError("lake_unavailable", "the commit cannot be read now") from error
        assert found is not None
        with self.rows.transaction() as tables:
            tables.snapshots[commit_key(place)] = {"process_id": found.commit.provenance.process_id}
        return ReportAnswer()

    def _started(self, process_id: UUID, attempt: int, report: Report) -> None:
        with self.rows.transaction() as tables:
            row = self.world.decisions.wanted(tables.processes[process_id], process_id, attempt)
            if self.world.decisions.must_start(row, report):
                columns = {"run_id": report.run_id}
                self.endings.move(process_id, State.RUNNING, attempt=attempt, columns=columns)

    def _committing(self, process_id: UUID, attempt: int, report: Report) -> ReportAnswer:
        with self.rows.transaction() as tables:
            row = self.world.decisions.wanted(tables.processes[process_id], process_id, attempt)
            given = self.world.decisions.permit(row, report, self.world.clock(), self.world.settings)
            if given.is_new:
                self.rows.change(process_id, permit_token=report.token, permit_until=given.until)
        return ReportAnswer(permit_until=given.until)


def _place(row: Row) -> Coordinate:
    return Coordinate(row["entity_id"], row["data_version"], row["dataset"])


def _is_wanted(row: Row) -> bool:
    return State(row["state"]) in _LAUNCHED and row["ending"] is None
