"""The one way to a SparkSession: S3A with the magic committer, proven after the start, without a secret in any setting.

SparkSessions.open(profile) starts the JVM; close() stops it and removes its scratch folder.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.messages import ResourceProfile
from contracts.problems import LakemillError
from resources.settings import ComputeSettings, LakeSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMMITTER = {
    "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    "spark.sql.parquet.output.committer.class": "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": (
        "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory"
    ),
    "spark.hadoop.fs.s3a.committer.name": "magic",
    "spark.hadoop.fs.s3a.committer.magic.enabled": "true",
}
"""Without every one of these Spark renames files, silently, and a rename on S3 is a copy that can be half done."""

_S3A = {
    "fs.s3a.path.style.access": "true",
    "fs.s3a.connection.establish.timeout": "15s",
    "fs.s3a.connection.timeout": "60s",
    "fs.s3a.attempts.maximum": "5",
    "fs.s3a.retry.limit": "5",
    "fs.s3a.connection.maximum": "100",
    "fs.s3a.experimental.input.fadvise": "random",
    "fs.s3a.bucket.probe": "0",
}
_STOP_SECONDS = 30
_KEYS_PROVIDER = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
_AMBIENT_PROVIDER = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"


class SparkUnavailableError(LakemillError):
    """Spark did not start, or not with the settings that a safe write needs. See the message and the run's log."""

    retriable = True


class SparkSessions:
    """The SparkSession of this process. One JVM, one profile; not for many threads."""

    def __init__(
        self, settings: ComputeSettings, *, start: Callable[[dict[str, str]], "SparkSession"] | None = None
    ) -> None:
        """Remember the settings; nothing starts yet. ``start`` makes the session of a configuration."""
        self._settings = settings
        self._build = start or _build
        self._session: SparkSession | None = None
        self._profile: ResourceProfile | None = None
        self._scratch: Path | None = None

    def open(self, profile: ResourceProfile) -> "SparkSession":
        """Return the session, started for ``profile``. Raises SparkUnavailableError naming what is wrong."""
        if self._session is None:
            self._session, self._profile = self._start(profile), profile
        if self._profile != profile:
            raise SparkUnavailableError("this process runs Spark for another profile; start one process per profile")
        return self._session

    def usage(self) -> dict[str, float]:
        """Return what the driver's JVM has used: peak heap in bytes, CPU seconds, garbage collection in seconds."""
        return _usage(self._session) if self._session else {}

    def close(self) -> None:
        """Stop Spark and its JVM; remove the scratch folder."""
        if self._session is not None:
            stop_session(self._session)
            self._session = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self, profile: ResourceProfile) -> "SparkSession":
        if not any(self._settings.jars_dir.glob("spark-hadoop-cloud_*.jar")):
            raise SparkUnavailableError(f"no committer jar in {self._settings.jars_dir}; run 'lakemill setup'")
        self._scratch = Path(tempfile.mkdtemp(prefix="lakemill-spark-"))
        try:
            session = self._build(spark_config(self._settings, profile, self._scratch))
            give_access(session, self._settings)
            assert_committer(session)
            if self._settings.spark_master.startswith("local"):
                # Spark would take the first python3 of the PATH, which need not have the packages of this one.
                _context(session).pythonExec = sys.executable
        except Exception as error:
            self.close()
            if isinstance(error, SparkUnavailableError):
                raise
            raise SparkUnavailableError(f"Spark did not start: {type(error).__name__}: {error}") from error
        return session


def _build(config: dict[str, str]) -> "SparkSession":
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only runs need Spark

    return SparkSession.builder.config(map=dict(config)).getOrCreate()


def stop_session(session: "SparkSession") -> None:
    """Stop ``session`` and its JVM."""
    context = _context(session)
    gateway: Any = context._gateway
    session.stop()
    # stop() leaves the JVM to the next session, which would then run with this one's heap and class path.
    gateway.shutdown()
    type(context)._gateway = type(context)._jvm = None
    if gateway.proc.stdin:
        gateway.proc.stdin.close()  # what the JVM waits for
    gateway.proc.wait(_STOP_SECONDS)


def spark_config(settings: ComputeSettings, profile: ResourceProfile, scratch: Path) -> dict[str, str]:
    """Return the settings to start Spark with. Secret-free: they stand on the JVM's command line."""
    jars = f"{settings.jars_dir.absolute()}/*"
    heap_mb = _megabytes(profile.driver_memory)
    config = {
        "spark.app.name": "lakemill",
        "spark.master": settings.spark_master,
        "spark.driver.memory": f"{heap_mb}m",
        "spark.driver.extraJavaOptions": " ".join(_java_options(settings, profile)),
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.shuffle.partitions": str(profile.shuffle_partitions),
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.hadoop.parquet.compression.codec.zstd.level": "1",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.hadoop.fs.s3a.buffer.dir": str(scratch / "s3a"),
        **COMMITTER,
    }
    if settings.spark_master.startswith("local"):
        return config | {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return config | {
        "spark.executor.instances": str(profile.executor_instances),
        "spark.executor.cores": str(profile.executor_cores),
        "spark.executor.memory": profile.executor_memory,
    }


def _java_options(settings: ComputeSettings, profile: ResourceProfile) -> Iterator[str]:
    heap_mb = _megabytes(profile.driver_memory)
    yield from ("-XX:+UseParallelGC", f"-Xms{heap_mb}m", f"-Xmn{heap_mb // 3}m", "-Duser.timezone=UTC")
    if settings.spark_archive is not None and settings.spark_archive.exists():
        yield f"-XX:SharedArchiveFile={settings.spark_archive.absolute()}"
    if profile.executor_instances == 0:
        # Without executors the input is small: optimised code would be ready when the job is over.
        yield "-XX:TieredStopAtLevel=1"


def give_access(session: "SparkSession", settings: LakeSettings) -> None:
    """Give a running session the way to the lake. Set on the context, so that no setting or command line shows it."""
    hadoop: Any = _context(session)._jsc.hadoopConfiguration()
    endpoint = settings.s3_endpoint
    values = {**_S3A, "fs.s3a.endpoint.region": settings.s3_region}
    if endpoint:
        values |= {
            "fs.s3a.endpoint": endpoint,
            "fs.s3a.connection.ssl.enabled": str(endpoint.startswith("https")).lower(),
        }
    if settings.s3_access_key and settings.s3_secret_key:
        values |= {
            "fs.s3a.aws.credentials.provider": _KEYS_PROVIDER,
            "fs.s3a.access.key": settings.s3_access_key,
            "fs.s3a.secret.key": settings.s3_secret_key.get_secret_value(),
        }
    else:
        values["fs.s3a.aws.credentials.provider"] = _AMBIENT_PROVIDER
    for name, value in values.items():
        hadoop.set(name, value)


def assert_committer(session: "SparkSession") -> None:
    """Return when the session writes with the magic committer. Raises SparkUnavailableError naming the setting."""
    context = _context(session)
    hadoop: Any = context._jsc.hadoopConfiguration()
    for name, wanted in COMMITTER.items():
        plain = name.removeprefix("spark.hadoop.")
        found = session.conf.get(name, None) if plain == name else hadoop.get(plain)
        if found != wanted:
            raise SparkUnavailableError(f"{name} is {found!r}, must be {wanted!r}; a session was started elsewhere")
    loader: Any = context._jvm
    for name in list(COMMITTER)[:3]:
        loader.java.lang.Class.forName(COMMITTER[name])


def _usage(session: "SparkSession") -> dict[str, float]:
    context = _context(session)
    factory: Any = context._jvm.java.lang.management.ManagementFactory
    heap = [pool for pool in factory.getMemoryPoolMXBeans() if str(pool.getType().name()) == "HEAP"]
    found = {
        "driver_peak_heap_bytes": sum(pool.getPeakUsage().getUsed() for pool in heap),
        "driver_gc_seconds": sum(gc.getCollectionTime() for gc in factory.getGarbageCollectorMXBeans()) / 1e3,
    }
    statistics = Path(f"/proc/{context._gateway.proc.pid}/stat")
    if statistics.exists():  # Linux
        user, system = statistics.read_text().rpartition(")")[2].split()[11:13]
        found["driver_cpu_seconds"] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return found


def _context(session: "SparkSession") -> Any:
    return session.sparkContext


def _megabytes(memory: str) -> int:
    return int(memory[:-1]) * (1024 if memory.endswith("g") else 1)
