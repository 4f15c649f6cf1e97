"""A release that is stuck is told, whatever it hangs in; a backlog that waits for its limits is not."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from control.releasing.release import RELEASE_LOCK, release_once
from control.releasing.watch import STUCK_SECONDS, ReleaseWatch
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.worker_rows import add_process, add_tenant
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


class Watching:
    """A watch whose clock a test moves; ``told`` are its log lines."""

    def __init__(self, db: Database, max_in_flight: int = 200) -> None:
        self.now = 0.0
        self.watch = ReleaseWatch(db, max_in_flight, clock=lambda: self.now)

    async def look(self, at: float) -> list[dict[str, Any]]:
        self.now = at
        with capture_logs() as told:
            await self.watch.look()
        return [{name: line[name] for name in line if name not in {"log_level"}} for line in told]


async def test_what_another_worker_holds_up_is_told_once_and_its_end_too(
    db: Database, settings: ControlSettings
) -> None:
    watching = Watching(db)
    process_id = await add_process(db)
    async with db.exclusive(RELEASE_LOCK) as hangs:
        assert hangs
        assert await release_once(db, MemoryLog(), settings) == 0
        assert await watching.look(0) == []
        assert await watching.look(STUCK_SECONDS - 1) == []
        stuck = {"event": "release.stuck", "process_id": str(process_id), "attempt": 1, "seconds": 120}
        assert await watching.look(STUCK_SECONDS) == [stuck]
        assert await watching.look(STUCK_SECONDS + 30) == []
    assert await release_once(db, MemoryLog(), settings) == 1
    assert await watching.look(STUCK_SECONDS + 60) == [{"event": "release.goes_on", "after_seconds": 180}]


async def test_a_release_that_goes_on_slowly_is_none(db: Database, settings: ControlSettings) -> None:
    watching = Watching(db)
    for at in range(0, 1000, 100):
        await add_process(db)
        assert await watching.look(at) == []
        await release_once(db, MemoryLog(), settings)


async def test_a_backlog_behind_its_limits_is_none(db: Database, settings: ControlSettings) -> None:
    await add_tenant(db, "narrow", in_flight=1)
    for _ in range(2):
        await add_process(db, tenant_id="narrow")
    assert await release_once(db, MemoryLog(), settings) == 1
    watching = Watching(db)
    assert await watching.look(0) == await watching.look(10 * STUCK_SECONDS) == []
    full = Watching(db, max_in_flight=1)
    await add_process(db)
    assert await full.look(0) == await full.look(10 * STUCK_SECONDS) == []
