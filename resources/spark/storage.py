"""How a Spark session reaches the lake: S3A with the magic committer, proven, and without a secret in any setting."""

from typing import TYPE_CHECKING, Any

from contracts.problems import LakemillError
from resources.settings import LakeSettings

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
_KEYS_PROVIDER = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
_AMBIENT_PROVIDER = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"


class SparkUnavailableError(LakemillError):
    """Spark did not start, or not with the settings that a safe write needs. See the message and the run's log."""

    retriable = True


def access_settings(settings: LakeSettings) -> dict[str, str]:
    """Return Hadoop's settings of the way to the lake, with what credentials the environment holds. Secret-free."""
    found = {
        **_S3A,
        "fs.s3a.endpoint.region": settings.s3_region,
        "fs.s3a.aws.credentials.provider": _AMBIENT_PROVIDER,
    }
    if endpoint := settings.s3_endpoint:
        found["fs.s3a.endpoint"] = endpoint
        found["fs.s3a.connection.ssl.enabled"] = str(endpoint.startswith("https")).lower()
    return found


def give_access(session: "SparkSession", settings: LakeSettings) -> None:
    """Give a running session the way to the lake. Set on the context, so that no command line shows a key."""
    hadoop: Any = session.sparkContext._jsc.hadoopConfiguration()
    values = access_settings(settings)
    if settings.s3_access_key and settings.s3_secret_key:
        values |= {
            "fs.s3a.aws.credentials.provider": _KEYS_PROVIDER,
            "fs.s3a.access.key": settings.s3_access_key,
            "fs.s3a.secret.key": settings.s3_secret_key.get_secret_value(),
        }
    for name, value in values.items():
        hadoop.set(name, value)


def assert_committer(session: "SparkSession") -> None:
    """Return when the session writes with the magic committer. Raises SparkUnavailableError naming the setting."""
    context = session.sparkContext
    hadoop: Any = context._jsc.hadoopConfiguration()
    for name, wanted in COMMITTER.items():
        plain = name.removeprefix("spark.hadoop.")
        found = session.conf.get(name, None) if plain == name else hadoop.get(plain)
        if found != wanted:
            raise SparkUnavailableError(f"{name} is {found!r}, must be {wanted!r}; a session was started elsewhere")
    loader: Any = context._jvm
    for name in list(COMMITTER)[:3]:
        loader.java.lang.Class.forName(COMMITTER[name])
