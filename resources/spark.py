"""The one way to a SparkSession: S3A with the magic committer, proven after the start, without a secret in any setting.

SparkSessions.open(profile) starts the JVM; close() stops it and removes its scratch folder. Where the executors are
processes of their own, an ``Executors`` says how they are started and waits for them.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from contracts.messages import Profile
from contracts.problems import LakemillError
from resources.settings import ComputeSettings, LakeSettings
from resources.spark_usage import lost_executors_of, pod_peak, usage_of

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
_STOP_SECONDS = 120  # a JVM that writes its class archive on a busy machine takes a minute
_KEYS_PROVIDER = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
_AMBIENT_PROVIDER = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"


class SparkUnavailableError(LakemillError):
    """Spark did not start, or not with the settings that a safe write needs. See the message and the run's log."""

    retriable = True


class Executors(Protocol):
    """The executors of a session, where they are processes of their own: pods."""

    def settings(self, profile: Profile) -> dict[str, str]:
        """Return what Spark must be told to start them, its master included."""

    def wait(self, session: "SparkSession", profile: Profile) -> None:
        """Return when there are enough of them. Raises a LakemillError that says why there are not."""


class SparkSessions:
    """The SparkSession of this process. One JVM, one profile; not for many threads."""

    def __init__(
        self,
        settings: ComputeSettings,
        *,
        start: Callable[[dict[str, str]], "SparkSession"] | None = None,
        executors: Executors | None = None,
    ) -> None:
        """Remember the settings; nothing starts yet. ``start`` makes the session of a configuration.

        Without ``executors`` the driver's own threads compute.
        """
        self._settings = settings
        self._executors = executors
        self._build = start or _build
        self._session: SparkSession | None = None
        self._profile: Profile | None = None
        self._scratch: Path | None = None

    def open(self, profile: Profile) -> "SparkSession":
        """Return the session, started for ``profile``. Raises SparkUnavailableError naming what is wrong."""
        if self._session is None:
            self._session, self._profile = self._start(profile), profile
        if self._profile != profile:
            raise SparkUnavailableError("this process runs Spark for another profile; start one process per profile")
        return self._session

    def wait_for_executors(self) -> bool:
        """Return once the session can compute: whether there were executors of its own to wait for.

        Raises a LakemillError that says why they did not come.
        """
        if self._session is None or self._profile is None or not (executors := self._outside(self._profile)):
            return False
        executors.wait(self._session, self._profile)
        return True

    def lost_executors(self) -> list[str]:
        """Return why executors went before their time, in Spark's words."""
        return lost_executors_of(self._session) if self._session else []

    def usage(self) -> dict[str, float]:
        """Return what Spark has used so far: see ``resources.spark_usage``."""
        if self._session is None:
            return {}
        return usage_of(self._session) | (pod_peak() if self._settings.pod_name else {})

    def close(self) -> None:
        """Stop Spark and its JVM; remove the scratch folder."""
        if self._session is not None:
            stop_session(self._session)
            self._session = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _outside(self, profile: Profile) -> Executors | None:
        """Return what starts the executors; None when the driver itself computes."""
        return self._executors if profile.executor_instances else None

    def _start(self, profile: Profile) -> "SparkSession":
        if not any(self._settings.jars_dir.glob("spark-hadoop-cloud_*.jar")):
            raise SparkUnavailableError(f"no committer jar in {self._settings.jars_dir}; run 'lakemill setup'")
        self._scratch = Path(tempfile.mkdtemp(prefix="lakemill-spark-"))
        try:
            config = spark_config(self._settings, profile, self._scratch)
            if executors := self._outside(profile):
                config |= executors.settings(profile)
            session = self._build(config)
            give_access(session, self._settings)
            assert_committer(session)
            if not executors:
                # Spark would take the first python3 of the PATH, which need not have the packages of this one.
                _context(session).pythonExec = sys.executable
        except Exception as error:
            self.close()
            if isinstance(error, LakemillError):
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


def _local_master(settings: ComputeSettings, profile: Profile) -> str:
    is_local = settings.spark_master.startswith("local")
    return settings.spark_master if is_local else f"local[{profile.driver_cores}]"


def _java_options(settings: ComputeSettings, profile: Profile) -> Iterator[str]:
    heap_mb = profile.driver_memory_mb
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


def _context(session: "SparkSession") -> Any:
    return session.sparkContext
