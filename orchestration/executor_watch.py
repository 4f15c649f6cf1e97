"""Watches that a run is not left without executors: Spark itself would wait for new ones for ever."""

import time
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

import structlog

from assets.errors import PodsFailedError
from contracts.reasons import Reason

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger(__name__)

_POLL_SECONDS = 1.0


class ExecutorWatch:
    """While entered, ends the session's jobs once no executor has been registered for ``patience`` seconds.

    The block, whose job then fails with Spark's own error, raises PodsFailedError with what ``why`` said by then.
    """

    def __init__(self, session: "SparkSession", patience: float, why: Callable[[], Reason]) -> None:
        self._session = session
        self._patience = patience
        self._why = why
        self._reason: Reason | None = None
        self._over = Event()
        self._thread = Thread(target=self._watch, name="executor-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._reason is not None and isinstance(error, Exception):
            raise PodsFailedError(self._reason) from error

    def _watch(self) -> None:
        from py4j.protocol import Py4JError  # noqa: PLC0415 - only runs need Spark

        poll, last_seen = min(_POLL_SECONDS, self._patience / 4), time.monotonic()
        try:
            while not self._over.wait(poll):
                if registered(self._session):
                    poll, last_seen = min(_POLL_SECONDS, self._patience / 4), time.monotonic()
                elif time.monotonic() - last_seen > self._patience:
                    self._end_jobs()
        except (Py4JError, OSError) as error:
            log.warning("executors.unwatched", error=str(error))  # Spark is gone, which the run itself meets

    def _end_jobs(self) -> None:
        """End what runs now; called again and again, because an action may begin another job."""
        if self._reason is None:
            self._reason = self._why()
            log.warning("executors.gone", reason=self._reason.code)
        self._session.sparkContext.cancelAllJobs()


def registered(session: "SparkSession") -> int:
    """Return how many executors have reached the driver and are not known to be gone."""
    context: Any = session.sparkContext
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1  # the driver is among them
