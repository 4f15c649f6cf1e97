"""Is anything released at all? Asked apart from the release itself, which may hang in Kafka or in another worker."""

from collections.abc import Callable
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from control.releasing.release import next_up
from control.tables import outbox
from resources.database import Database

log = structlog.get_logger(__name__)

STUCK_SECONDS = 120.0


class ReleaseWatch:
    """Remembers the process that was to be released next, and since when; an alert is logged once, and its end."""

    def __init__(self, db: Database, max_in_flight: int, *, clock: Callable[[], float] = monotonic) -> None:
        self._db = db
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._first: tuple[UUID, int] | None = None
        self._since = 0.0
        self._is_told = False

    async def look(self) -> None:
        """Log ``release.stuck`` when what may start still waits after ``STUCK_SECONDS``.

        A backlog that waits for its limits is none of that: then nothing may start. Raises DatabaseUnavailableError.
        """
        async with self._db.reading() as conn:
            found = await next_up(conn, self._max_in_flight)
            still = found is not None and self._first is not None and await _waits(conn, *self._first)
        now = self._clock()
        if not still:
            if self._is_told:
                log.info("release.goes_on", after_seconds=round(now - self._since))
            self._first, self._since, self._is_told = found, now, False
        elif self._first is not None and not self._is_told and now - self._since >= STUCK_SECONDS:
            process_id, attempt = self._first
            seconds = round(now - self._since)
            log.error("release.stuck", process_id=str(process_id), attempt=attempt, seconds=seconds)
            self._is_told = True


async def _waits(conn: AsyncConnection, process_id: UUID, attempt: int) -> bool:
    waiting = select(outbox.c.process_id).where(outbox.c.process_id == process_id, outbox.c.attempt == attempt)
    return (await conn.execute(waiting)).first() is not None
