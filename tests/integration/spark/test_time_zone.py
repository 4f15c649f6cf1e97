"""The time zone of a host changes no row: neither of a run nor of an action's unit test."""

import os
import subprocess
import sys

import pytest

from deploy.local.site import ROOT

_SECONDS = 120
_RUN = """
from contracts.messages import Profile
from resources.settings import compute_settings
from resources.spark.session import SparkSessions

sessions = SparkSessions(compute_settings())
spark = sessions.open(Profile(driver_memory="512m", executor_instances=0))
"""
_UNIT_TEST = """
from assets.testing import local_spark

spark = local_spark()
"""
# From the driver's Python to Spark, from a worker's Python to Spark, and from Spark to the driver's and a worker's.
_ROWS = """
from datetime import datetime
from pyspark.sql import functions as F

moment = datetime(2024, 7, 1, 1, 2, 3)
made = spark.createDataFrame([(moment,)], "at timestamp")
by_worker = F.udf(lambda _: moment, "timestamp")("at")
told = F.udf(lambda at: str(at), "string")
row = made.select(F.expr("string(at)"), by_worker.cast("string"), "at", told(F.expr("TIMESTAMP'2024-07-01T01:02:03Z'")))
print(*map(str, row.first()), sep="\\n")
"""


@pytest.mark.parametrize("session", [_RUN, _UNIT_TEST], ids=["a run", "a unit test"])
def test_a_naive_moment_is_one_in_utc(session: str) -> None:
    env = {
        **os.environ,
        "TZ": "America/New_York",
        "LAKEMILL_JARS_DIR": str(ROOT / ".lakemill" / "jars" / "spark"),
        "LAKEMILL_INTERNAL_SECRET": "internal-secret-of-the-tests",
        "LAKEMILL_S3_ENDPOINT": "http://127.0.0.1:9",  # nobody: nothing is read or written
    }
    done = subprocess.run(
        [sys.executable, "-c", session + _ROWS],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["2024-07-01 01:02:03"] * 4), done.stderr
