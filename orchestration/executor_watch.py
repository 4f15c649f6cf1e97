"""Watches that a run's jobs are not left without executors: Spark itself would wait for new ones for ever."""

import time
import traceback
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
_CANCELLED = "SPARK_JOB_CANCELLED"  # what Spark calls the error of a job that was ended


class ExecutorWatch:
    """While entered, ends the session's jobs once they have had no executor for ``patience`` seconds.

    The block, whose job then fails because it was cancelled, raises PodsFailedError with what ``why`` says. ``why``
    may take its time, and may fail: the job is ended first.
    """

    def __init__(self, session: "SparkSession", patience: float, why: Callable[[], Reason], fallback: Reason) -> None:
        self._session = session
        self._patience = patience
        self._why = why
        self._fallback = fallback
        self._reason: Reason | None = None
        self._over = Event()
        self._thread = Thread(target=self._watch, name="executor-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if not isinstance(error, Exception) or _CANCELLED not in "".join(traceback.format_exception(error)):
            return
        self._thread.join()  # it may still ask why; whoever interrupts us, which is no Exception, gives us no such time
        if self._reason is not None:
            raise PodsFailedError(self._reason) from error

    def _watch(self) -> None:
        from py4j.protocol import Py4JError  # noqa: PLC0415 - only runs need Spark

        poll, last_well = min(_POLL_SECONDS, self._patience / 4), time.monotonic()
        try:
            while not self._over.wait(poll):
                if registered(self._session) or not self._has_jobs():
                    last_well = time.monotonic()
                elif time.monotonic() - last_well > self._patience:
                    self._end_jobs()
                    last_well = time.monotonic()
        except (Py4JError, OSError) as error:
            log.warning("executors.unwatched", error=str(error))  # Spark is gone, which the run itself meets

    def _end_jobs(self) -> None:
        self._reason = self._fallback
        self._session.sparkContext.cancelAllJobs()
        try:
            self._reason = self._why()
        except Exception:
            log.exception("executors.unexplained")  # the fallback is told; the watch goes on
        log.warning("executors.gone", reason=self._reason.code)

    def _has_jobs(self) -> bool:
        return bool(self._session.sparkContext.statusTracker().getActiveJobsIds())


def registered(session: "SparkSession") -> int:
    """Return how many executors have reached the driver and are not known to be gone."""
    context: Any = session.sparkContext
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1  # the driver is among them
