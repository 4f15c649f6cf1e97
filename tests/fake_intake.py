"""The control plane as the sensor meets it, as a fake that answers what the records ask for."""

from collections.abc import Callable
from uuid import UUID, uuid5

from contracts.intake import IntakeAnswer, IntakeRequest, Launch, LogRecord, RecordAnswer, Verdict
from contracts.messages import Profile
from contracts.reports import Catalogue, LaunchMembers, Report, ReportAnswer
from resources.control_plane import ControlPlaneUnavailableError

AGAIN_IN = 5.0
"""How long a record whose value is ``later`` asks to be left alone."""


def launch_value(
    launch_id: UUID, action: str = "aggregate_revenue", entity: str = "cust_1", version: str = "v1"
) -> bytes:
    """Return a record's value that ``FakeControlPlane`` answers with this launch."""
    return f"launch:{action}:{launch_id}:{entity}:{version}".encode()


class FakeControlPlane:
    """Answers each record by its value: a ``launch_value``, a verdict's name; all else is dead.

    ``fail`` makes the whole call fail, ``slow`` calls ``on_slow``.
    """

    def __init__(self) -> None:
        self.requests: list[IntakeRequest] = []
        self.away = False
        self.on_slow: Callable[[], None] = lambda: None

    def intake(self, request: IntakeRequest) -> IntakeAnswer:
        if self.away or any(record.value == b"fail" for record in request.records):
            raise ControlPlaneUnavailableError("away")
        self.requests.append(request)
        return IntakeAnswer(answers=[self._answer(record) for record in request.records])

    def _answer(self, record: LogRecord) -> RecordAnswer:
        word, *rest = (record.value or b"").decode(errors="replace").split(":")
        if word == "slow":
            self.on_slow()
        if word != "launch":
            again_in = AGAIN_IN if word == Verdict.LATER else 0.0
            verdict = Verdict(word) if word in list(Verdict) else Verdict.DEAD
            return RecordAnswer.of(record, verdict, "said so", again_in=again_in)
        action, launch_id, entity, version = rest
        launch = Launch(
            launch_id=UUID(launch_id),
            action=action,
            entity_id=entity,
            data_version=version,
            process_id=uuid5(UUID(launch_id), action),
            attempt=1,
            profile=Profile(),
        )
        return RecordAnswer(position=record.position, verdict=Verdict.LAUNCH, launch=launch)

    def members(self, launch_id: UUID) -> LaunchMembers:
        raise NotImplementedError

    def report(self, report: Report) -> ReportAnswer:
        raise NotImplementedError

    def publish(self, catalogue: Catalogue) -> None:
        raise NotImplementedError
