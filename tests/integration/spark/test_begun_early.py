"""Spark begun before a run's output is captured: what its JVM says is captured all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.messages import Profile
from deploy.local.site import ROOT
from resources.settings import ComputeSettings
from resources.spark.session import SparkSessions
from resources.spark.storage import SparkUnavailableError

JARS = ROOT / ".lakemill" / "jars" / "spark"
_SECONDS = 120
_RUN = """
import os, sys
from contracts.messages import Profile
from resources.settings import compute_settings
from resources.spark.session import SparkSessions

profile = Profile(driver_memory="512m", executor_instances=0)
sessions = SparkSessions(compute_settings())
sessions.begin(profile)
sessions._beginning.session()  # all that a JVM says as it starts is said
os.write(2, b"before")
os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 2)  # as Dagster captures a run's output
spark = sessions.open(profile)
print(spark.getActiveSession().range(3).count(), spark.conf.get("spark.driver.memory"))
sessions.close()
"""


def test_what_the_jvm_says_before_is_captured_too(tmp_path: Path) -> None:
    captured = tmp_path / "stderr"
    env = {
        **os.environ,
        "LAKEMILL_JARS_DIR": str(JARS),
        "LAKEMILL_INTERNAL_SECRET": "internal-secret-of-the-tests",
        "LAKEMILL_S3_ENDPOINT": "http://127.0.0.1:9",  # nobody: nothing is read or written
    }
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(captured)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["3", "512m"]), done.stderr
    assert done.stderr == "before"
    assert "Setting default log level" in captured.read_text()


def test_a_jvm_that_does_not_start_is_told_to_who_needs_it() -> None:
    settings = ComputeSettings(internal_secret=SecretStr("internal-secret-of-the-tests"), jars_dir=JARS)
    sessions = SparkSessions(settings, java_options="-Xss1k")
    sessions.begin(Profile(driver_memory="512m"))
    with pytest.raises(SparkUnavailableError, match="the JVM of Spark's driver has ended with code 1"):
        sessions.open(Profile(driver_memory="512m"))
    sessions.close()
