"""What the compute image starts: an executor when Spark asks for one, and anything else as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import ROOT

EXECUTOR = {
    "SPARK_JAVA_OPT_10": "-Dten=10",
    "SPARK_JAVA_OPT_2": "-Dtwo=a b",
    "SPARK_JAVA_OPT_0": "-Dzero=0",
    "SPARK_EXECUTOR_MEMORY": "4096m",
    "SPARK_CLASSPATH": "/opt/lakemill/jars/spark/*",
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.1.2.3:7078",
    "SPARK_EXECUTOR_ID": "7",
    "SPARK_EXECUTOR_CORES": "4",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_EXECUTOR_POD_IP": "10.1.2.4",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "run-1-exec-7",
    "LAKEMILL_SPARK_ARCHIVE": "/opt/lakemill/jars/spark.jsa",
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH whose ``java`` prints its arguments, one a line."""
    java = tmp_path / "java"
    java.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    java.chmod(0o755)
    return f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def entrypoint(path: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [str(ROOT / "deploy" / "images" / "entrypoint"), *arguments]
    return subprocess.run(
        command, env={"PATH": path, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_entrypoint_becomes_the_executor_that_spark_asks_for(path: str) -> None:
    done = entrypoint(path, "executor", **EXECUTOR)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    before, after = said[: said.index("-cp")], said[said.index("-cp") + 1 :]
    assert before[:3] == ["-Dzero=0", "-Dtwo=a b", "-Dten=10"]  # by number, each whole
    assert {"-XX:SharedArchiveFile=/opt/lakemill/jars/spark.jsa", "-Xms4096m", "-Xmx4096m"} <= set(before)
    classes = after[0].split(":")
    assert classes[0] == "/opt/lakemill/jars/spark/*"
    assert [Path(entry).parts[-2:] for entry in classes[1:]] == [("pyspark", "conf"), ("jars", "*")]
    assert after[1].endswith(".KubernetesExecutorBackend")
    assert dict(zip(after[2::2], after[3::2], strict=True)) == {
        "--driver-url": EXECUTOR["SPARK_DRIVER_URL"],
        "--executor-id": "7",
        "--cores": "4",
        "--app-id": "spark-1",
        "--hostname": "10.1.2.4",
        "--resourceProfileId": "0",
        "--podName": "run-1-exec-7",
    }


def test_an_executor_that_is_not_told_its_driver_does_not_start(path: str) -> None:
    done = entrypoint(path, "executor", **{name: value for name, value in EXECUTOR.items() if "DRIVER" not in name})
    assert done.returncode != 0
    assert "SPARK_DRIVER_URL" in done.stderr


def test_the_entrypoint_runs_anything_else_as_it_is(path: str) -> None:
    assert entrypoint(path, "java", "executor", "a b", "*").stdout.splitlines() == ["executor", "a b", "*"]
    assert entrypoint(path, "sh", "-c", "exit 7").returncode == 7
