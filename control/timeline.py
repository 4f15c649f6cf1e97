"""The timeline of a process: its events, and the stages that its run and its commit tell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from contracts.views import TimelineEntry

_OWN_COLUMNS = {"stages", "committed_at"}
"""Keys of an event's detail that become entries of their own."""


@dataclass(frozen=True, slots=True)
class _Moment:
    stage: str
    attempt: int
    at: datetime
    detail: dict[str, Any] = field(default_factory=dict)


def timeline(events: Sequence[RowMapping]) -> list[TimelineEntry]:
    """Return what has happened, in the order of time, with the seconds since the entry before.

    Stages are told by the run's clock, everything else by the database's.
    """
    # A stage may be told twice, by the run's report and by its commit: it is one moment all the same.
    told = {(found.stage, found.attempt, found.at): found for event in events for found in _of_event(event)}
    moments = sorted(told.values(), key=lambda moment: moment.at)
    before = [moments[0], *moments] if moments else []
    return [
        TimelineEntry(
            stage=moment.stage,
            attempt=moment.attempt,
            at=moment.at,
            seconds=round((moment.at - previous.at).total_seconds(), 3),
            detail=moment.detail,
        )
        for previous, moment in zip(before, moments, strict=False)
    ]


def _of_event(event: RowMapping) -> Iterator[_Moment]:
    detail: dict[str, Any] = event["detail"]
    # A commit may be an earlier attempt's; its stages belong to that one.
    attempt = detail.get("attempt") or event["attempt"]
    for stage, at in detail.get("stages", {}).items():
        yield _Moment(stage, attempt, datetime.fromisoformat(at))
    if "committed_at" in detail:
        yield _Moment("committed", attempt, datetime.fromisoformat(detail["committed_at"]))
    told = {name: value for name, value in detail.items() if name not in _OWN_COLUMNS}
    yield _Moment(event["kind"], event["attempt"], event["at"], told)
