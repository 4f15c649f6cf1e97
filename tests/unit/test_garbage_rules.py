"""What is garbage: the rule, case by case."""

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.identity import Coordinate
from contracts.reports import MAX_RUN_SECONDS
from control.rules.commit_time import commit_wait
from control.rules.garbage import Committed, Folder, Kept, why_kept
from tests.gc_ports import SETTINGS

BEGIN = datetime(2024, 10, 5, tzinfo=UTC)


def test_what_nobody_will_ever_commit_is_garbage_and_everything_else_has_a_reason() -> None:
    folder = Folder(Coordinate("cust_8842", "v1", "revenue"), "token", BEGIN)
    later = BEGIN + timedelta(seconds=MAX_RUN_SECONDS) + commit_wait(SETTINGS) + timedelta(seconds=1)

    def judged(committed: Committed | None = None, at: datetime = later, **row: Any) -> Kept | None:
        process = {"ending": None, "permit_until": None, **row} if row else None
        return why_kept(folder, committed, process, at, SETTINGS)

    assert judged() is None  # an operator's run, or one whose process is forgotten
    assert judged(Committed("another")) is None
    assert judged(state="failed") is None
    assert judged(state="succeeded") is None
    assert judged(at=later - timedelta(seconds=1)) is Kept.YOUNG
    assert judged(Committed("token")) is Kept.COMMITTED
    assert judged(Committed(None), state="failed") is Kept.UNREADABLE
    assert judged(Committed("another"), state="running") is Kept.LIVE
    assert judged(state="failed", permit_until=later) is Kept.LIVE
