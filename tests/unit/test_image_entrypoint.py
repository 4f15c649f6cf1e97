"""What the compute image starts: an executor when Spark asks for one, and anything else as it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.certificates import Authority
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


def trust_store(options: str) -> str:
    """Return the file that the options of a JVM name as its trust store."""
    return options.partition("-Djavax.net.ssl.trustStore=")[2]


def listed(trust_store: str, *more: str) -> str:
    command = ["keytool", "-list", "-keystore", trust_store, "-storepass", "changeit", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


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


@pytest.mark.parametrize("command", [("dagster",), ("/app/.venv/bin/python3", "-m", "dagster")])
def test_a_run_starts_spark_beside_dagster(path: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    done = entrypoint(path, *command, "api", "execute_run", '{"a b": 1}')
    assert done.stdout.splitlines() == ["-m", "orchestration.run_pod", "api", "execute_run", '{"a b": 1}']


@pytest.mark.skipif(shutil.which("keytool") is None, reason="no Java on this machine")
def test_a_jvm_trusts_the_authorities_of_the_object_store_beside_its_own(path: str, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    both = [Authority().write_ca(tmp_path).read_text() for _ in range(2)]
    bundle.write_text("# ours\n" + "\n# and theirs\n".join(both))
    (tmp_path / "java").write_text('#!/bin/sh\necho "$JAVA_TOOL_OPTIONS"\n')
    told = {"LAKEMILL_S3_CA_FILE": str(bundle), "JAVA_TOOL_OPTIONS": "-Dkept=1", "TMPDIR": str(tmp_path)}
    done = entrypoint(path, "executor", **EXECUTOR, **told)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("-Dkept=1 -D")
    store = trust_store(done.stdout.strip())
    for number, each in enumerate(both):
        assert each.strip() in listed(store, "-rfc", "-alias", f"lakemill-{number}")
    assert listed(store).count("trustedCertEntry") > 2


def test_only_an_executor_and_a_run_wait_for_a_trust_store(path: str, tmp_path: Path) -> None:
    told = {"LAKEMILL_S3_CA_FILE": str(tmp_path / "absent.pem"), "TMPDIR": str(tmp_path)}
    run = ("dagster", "api", "execute_run", "{}")
    for command, environment in ((("executor",), EXECUTOR), (("echo", *run), {})):
        done = entrypoint(path, *command, **environment, **told)
        assert (done.returncode, done.stdout) == (1, "")
        assert "absent.pem is not a readable PEM file of certificates" in done.stderr
        assert "Traceback" not in done.stderr
    server = ("dagster", "api", "grpc")
    assert entrypoint(path, "echo", *server, **told).stdout == f"{' '.join(server)}\n"
