"""A control plane that keeps every report, and answers what a test tells it to."""

from collections.abc import Callable
from uuid import UUID

from contracts.intake import IntakeAnswer, IntakeRequest
from contracts.reports import Catalogue, Event, LaunchMembers, Member, Report, ReportAnswer


class FakeControlPlane:
    """Records reports in ``reports``. ``refuse(event, error, …)`` makes the next reports of an event fail in turn."""

    def __init__(self, *members: Member) -> None:
        self.reports: list[Report] = []
        self.catalogues: list[Catalogue] = []
        self.on_committing: Callable[[], None] = lambda: None
        self._members = list(members)
        self._refusals: dict[Event, list[Exception]] = {}

    def refuse(self, event: Event, *errors: Exception) -> None:
        self._refusals[event] = list(errors)

    @property
    def events(self) -> list[Event]:
        return [report.event for report in self.reports]

    def members(self, launch_id: UUID) -> LaunchMembers:
        return LaunchMembers(launch_id=launch_id, members=self._members)

    def report(self, report: Report) -> ReportAnswer:
        self.reports.append(report)
        if report.event is Event.COMMITTING:
            self.on_committing()
        if refusals := self._refusals.get(report.event):
            raise refusals.pop(0)
        return ReportAnswer()

    def intake(self, request: IntakeRequest) -> IntakeAnswer:
        raise NotImplementedError("a run shows no records")

    def publish(self, catalogue: Catalogue) -> None:
        self.catalogues.append(catalogue)
