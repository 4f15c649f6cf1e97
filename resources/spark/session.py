"""The one way to a SparkSession: S3A with the magic committer, proven after the start, without a secret in any setting.

SparkSessions.open(profile) starts the JVM, or waits for what begin(profile) has started; close() stops it and removes
its scratch folder. Where the executors are processes of their own, an ``Executors`` says how they are started and waits
for them.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from contracts.messages import Profile
from contracts.problems import LakemillError
from contracts.reasons import Reason
from resources.settings import ComputeSettings
from resources.spark.beginning import Beginning
from resources.spark.jvm import jvm
from resources.spark.losses import OOM_EVENTS, lost_driver_of, lost_executors_of
from resources.spark.scratch import new_scratch
from resources.spark.storage import COMMITTER, SparkUnavailableError, assert_committer, give_access
from resources.spark.usage import pod_peak, usage_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STOP_SECONDS = 300  # a JVM that writes its class archive on a busy machine takes minutes


class Executors(Protocol):
    """The executors of a session, where they are processes of their own: pods."""

    def settings(self, profile: Profile) -> dict[str, str]:
        """Return what Spark must be told to start them, its master included."""

    def attached(self, session: "SparkSession", profile: Profile) -> AbstractContextManager[None]:
        """Wait until there are enough of them, and end the session's jobs should they all stay away later.

        Both raise a LakemillError that says why.
        """

    def interruption(self) -> Reason | None:
        """Return why this process is being ended, when the cluster that it runs in says so."""


class SparkSessions:
    """The SparkSession of this process. One JVM, one profile; not for many threads."""

    def __init__(
        self,
        settings: ComputeSettings,
        *,
        start: Callable[[dict[str, str]], "SparkSession"] | None = None,
        executors: Callable[[], Executors] | None = None,
        java_options: str = "",
    ) -> None:
        """Remember the settings; nothing starts yet. ``start`` makes the session of a configuration.

        ``executors`` is called when they are first needed. Without it the driver's own threads compute. The driver's
        JVM gets ``java_options`` beside its usual ones.
        """
        self._settings = settings
        self._make_executors = executors
        self._build = start or _build
        self._java_options = java_options
        self._beginning: Beginning | None = None
        self._is_opened = Event()
        """From then on Dagster captures what is said in a run."""
        self._session: SparkSession | None = None
        self._profile: Profile | None = None
        self._scratch: Path | None = None

    def begin(self, profile: Profile) -> None:
        """Start Spark for ``profile`` beside what this thread does until ``open``, which raises what went wrong.

        Once it has begun, for whichever profile, nothing happens.
        """
        if self._session is None and self._beginning is None:
            self._beginning = Beginning(profile, self._start)

    def open(self, profile: Profile) -> "SparkSession":
        """Return the session, started for ``profile``. Raises SparkUnavailableError naming what is wrong."""
        self._is_opened.set()
        if self._beginning is not None and self._beginning.profile != profile:
            self.close()
        if self._session is None:
            begun = self._beginning
            self._session, self._profile = begun.session() if begun else self._start(profile), profile
            self._beginning = None
        if self._profile != profile:
            raise SparkUnavailableError("this process runs Spark for another profile; start one process per profile")
        return self._session

    @contextmanager
    def executors(self) -> Iterator[bool]:
        """Yield once the session can compute: whether it has executors of its own.

        Raises a LakemillError that says why they did not come, or went.
        """
        if self._session is None or self._profile is None or not (executors := self._outside(self._profile)):
            yield False
            return
        with executors.attached(self._session, self._profile):
            yield True

    def interruption(self) -> Reason | None:
        """Return why this process is being ended, when the cluster that it runs in says so."""
        return self._executors.interruption() if self._executors else None

    def lost_executors(self) -> list[str]:
        """Return why executors went before their time, in Spark's words."""
        return lost_executors_of(self._session) if self._session else []

    def lost_driver(self) -> str | None:
        """Return how the driver's JVM has ended, None while there is one or none was started."""
        events = OOM_EVENTS if self._settings.pod_name else ()  # else the counts are not of this process alone
        return lost_driver_of(self._session, events) if self._session else None

    def usage(self) -> dict[str, float]:
        """Return what Spark has used so far: see ``resources.spark.usage``."""
        if self._session is None:
            return {}
        return usage_of(self._session) | (pod_peak() if self._settings.pod_name else {})

    def close(self) -> None:
        """Stop Spark and its JVM; remove the scratch folder."""
        self._is_opened.set()
        if self._beginning is not None:
            with suppress(LakemillError):  # nobody has asked for it
                self._session = self._beginning.session()
            self._beginning = None
        if self._session is not None:
            stop_session(self._session)
            self._session = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @cached_property
    def _executors(self) -> Executors | None:
        return self._make_executors() if self._make_executors else None

    def _outside(self, profile: Profile) -> Executors | None:
        """Return what starts the executors; None when the driver itself computes."""
        return self._executors if profile.executor_instances else None

    def _start(self, profile: Profile) -> "SparkSession":
        if not any(self._settings.jars_dir.glob("spark-hadoop-cloud_*.jar")):
            raise SparkUnavailableError(f"no committer jar in {self._settings.jars_dir}; run 'lakemill setup'")
        self._scratch = new_scratch()
        try:
            config = spark_config(self._settings, profile, self._scratch)
            config["spark.driver.extraJavaOptions"] += f" {self._java_options}".rstrip()
            if executors := self._outside(profile):
                config |= executors.settings(profile)
            with jvm(config, self._is_opened):
                session = self._build(config)
            give_access(session, self._settings)
            assert_committer(session)
            if not executors:
                # Spark would take the first python3 of the PATH, which need not have the packages of this one.
                _context(session).pythonExec = sys.executable
        except Exception as error:
            shutil.rmtree(self._scratch, ignore_errors=True)
            if isinstance(error, LakemillError):
                raise
            raise SparkUnavailableError(f"Spark did not start: {type(error).__name__}: {error}") from error
        return session


def _build(config: dict[str, str]) -> "SparkSession":
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only runs need Spark

    return SparkSession.builder.config(map=dict(config)).getOrCreate()


def stop_session(session: "SparkSession") -> None:
    """Stop ``session`` and its JVM, which may be gone already."""
    from py4j.protocol import Py4JError  # noqa: PLC0415 - only runs need Spark

    context = _context(session)
    gateway: Any = context._gateway
    try:
        session.stop()
    except (Py4JError, OSError):
        context._jsc = None  # the JVM is gone; what it has on this side remains to be stopped
        context.stop()
    # stop() leaves the JVM to the next session, which would then run with this one's heap and class path.
    gateway.shutdown()
    type(context)._gateway = type(context)._jvm = None
    if gateway.proc.stdin:
        gateway.proc.stdin.close()  # what the JVM waits for
    gateway.proc.wait(_STOP_SECONDS)


def spark_config(settings: ComputeSettings, profile: Profile, scratch: Path) -> dict[str, str]:
    """Return the settings to start Spark with, computing in the driver itself.

    Secret-free: they stand on the JVM's command line.
    """
    jars = f"{settings.jars_dir.absolute()}/*"
    heap_mb = profile.driver_memory_mb
    return {
        "spark.app.name": "lakemill",
        "spark.master": _local_master(settings, profile),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": f"{heap_mb}m",
        "spark.driver.extraJavaOptions": " ".join(_java_options(settings, profile)),
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        "spark.executorEnv.TZ": "UTC",  # see live_in_utc
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.shuffle.partitions": str(profile.shuffle_partitions),
        # What a shuffle leaves is put together to parts of 64 MiB, however many partitions it had; else each core would
        # get a part of its own, and each part becomes a file.
        "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.hadoop.parquet.compression.codec.zstd.level": "1",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.hadoop.fs.s3a.buffer.dir": str(scratch / "s3a"),
        **COMMITTER,
    }


def _local_master(settings: ComputeSettings, profile: Profile) -> str:
    is_local = settings.spark_master.startswith("local")
    return settings.spark_master if is_local else f"local[{profile.driver_cores}]"


def _java_options(settings: ComputeSettings, profile: Profile) -> Iterator[str]:
    heap_mb = profile.driver_memory_mb
    yield from ("-XX:+UseParallelGC", f"-Xms{heap_mb}m", f"-Xmn{heap_mb // 3}m", "-Duser.timezone=UTC")
    if settings.spark_archive is not None and settings.spark_archive.exists():
        yield f"-XX:SharedArchiveFile={settings.spark_archive.absolute()}"
    if profile.executor_instances == 0:
        # A small input is done before optimised code is ready. Without that, Java reserves only 48 MiB for code.
        yield from ("-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=240m")


def _context(session: "SparkSession") -> Any:
    return session.sparkContext
