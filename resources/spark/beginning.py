"""Spark's start beside other work: it is mostly the JVM's, and takes about as long as the imports of a run."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any

from contracts.messages import Profile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Beginning:
    """Calls ``start`` with ``profile`` in a thread of its own, for which the end of the process does not wait."""

    def __init__(self, profile: Profile, start: Callable[[Profile], "SparkSession"]) -> None:
        """Begin at once."""
        self.profile = profile
        self._start = start
        self._made: Future[SparkSession] = Future()
        Thread(target=self._run, name="spark-start", daemon=True).start()

    def session(self) -> "SparkSession":
        """Wait for the session, and make it the active one of this thread. Raises what ``start`` raised."""
        session = self._made.result()
        activate(session)
        return session

    def _run(self) -> None:
        try:
            self._made.set_result(self._start(self.profile))
        except BaseException as error:  # noqa: BLE001 - whoever waits for the session gets it
            self._made.set_exception(error)


def activate(session: "SparkSession") -> None:
    """Make it what ``SparkSession.getActiveSession()`` returns in this thread: it is so only where it was made."""
    jvm: Any = session.sparkContext._jvm
    jvm.SparkSession.setActiveSession(session._jsparkSession)
