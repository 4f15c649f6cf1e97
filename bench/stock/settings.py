"""How Spark is told to write to S3 where there is no Lakemill: by the books, and as fast as one line each makes it."""

from pathlib import Path

from resources.settings import LakeSettings
from resources.spark.storage import COMMITTER


def stock_settings(settings: LakeSettings, jars_dir: Path) -> dict[str, str]:
    """Return Spark's settings: the jars by ``spark.jars``, S3A, the magic committer; everything else as Spark has it.

    Without the committer Spark would copy each file once it is written: a baseline that is too easy to beat.
    """
    return {
        "spark.jars": ",".join(sorted(str(jar) for jar in jars_dir.glob("*.jar"))),
        "spark.hadoop.fs.s3a.endpoint": settings.s3_endpoint or "",
        "spark.hadoop.fs.s3a.endpoint.region": settings.s3_region,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        **COMMITTER,
    }


def stock_credentials(settings: LakeSettings) -> dict[str, str]:
    """Return the variables that Spark's S3 client takes its keys from."""
    if settings.s3_access_key is None or settings.s3_secret_key is None:
        raise ValueError("the store's keys are not known")
    return {
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
    }
