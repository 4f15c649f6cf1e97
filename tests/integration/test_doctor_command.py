"""``lakemill doctor`` as it is typed: a process of its own, so that nothing of this machine's settings is found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pydantic import SecretStr

from cli.doctor.check import Group
from cli.doctor.checks import ALL


def lakemill(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "lakemill"), "doctor", *arguments]
    bare = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(command, env=bare | variables, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "lacking",
    [
        ("kubernetes", "dagster", "dagster_k8s", "pyspark", "yaml"),
        ("asyncpg", "alembic", "fastapi", "standardwebhooks", "uuid_utils"),
    ],
    ids=["control image", "compute image"],
)
def test_each_image_answers_without_what_it_lacks(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({lacking})); from cli.main import app; app(['doctor'])"
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LAKEMILL_INTERNAL_SECRET": "x" * 24}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "broke" in done.stdout) == (3, False), done.stdout + done.stderr


def test_nothing_configured_is_exit_code_three(tmp_path: Path) -> None:
    done = lakemill(tmp_path)
    assert done.returncode == 3, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("skip")]) == len(ALL)


def test_a_group_that_was_asked_for_and_is_not_there_is_a_failure(tmp_path: Path) -> None:
    done = lakemill(tmp_path, "--only", "kafka")
    assert done.returncode == 1, done.stderr
    *lines, summary = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"fail"}
    assert all("LAKEMILL_KAFKA_BOOTSTRAP" in line for line in lines)
    assert summary == f"{len(lines)} fail"


def test_a_warning_is_a_failure_where_that_is_asked_for(tmp_path: Path, database_url: SecretStr) -> None:
    told = {"LAKEMILL_DATABASE_URL": database_url.get_secret_value(), "LAKEMILL_INTERNAL_SECRET": "x" * 24}
    lenient, strict = lakemill(tmp_path, **told), lakemill(tmp_path, "--strict", **told)
    assert [line.split()[1] for line in lenient.stdout.splitlines() if line.startswith("warn")] == ["postgres.tls"]
    assert (lenient.returncode, strict.returncode) == (0, 1), lenient.stdout + strict.stdout


def test_a_setting_that_cannot_be_read_is_exit_code_three(tmp_path: Path) -> None:
    done = lakemill(tmp_path, LAKEMILL_INTERNAL_SECRET="short-canary")
    assert (done.returncode, "LAKEMILL_INTERNAL_SECRET" in done.stderr) == (3, True)
    assert "short-canary" not in done.stdout + done.stderr


def test_json_and_junit_hold_every_check_of_a_server_that_is_away(tmp_path: Path) -> None:
    keys = {"LAKEMILL_S3_ACCESS_KEY": "tests", "LAKEMILL_S3_SECRET_KEY": "canary"}
    away = {"LAKEMILL_S3_ENDPOINT": "http://127.0.0.1:9", **keys}
    done = lakemill(tmp_path, "--json", "--only", "storage", "--only", "contract", "--junit", "doctor.xml", **away)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    names = [each["name"] for each in document["checks"]]
    assert names == [each.name for each in ALL if each.group in (Group.STORAGE, Group.CONTRACT)]
    assert document["counts"] == {"pass": 0, "warn": 0, "fail": len(names) - 1, "skip": 1}
    cases = ET.parse(tmp_path / "doctor.xml").getroot().iter("testcase")  # noqa: S314 - our own
    assert [case.get("name") for case in cases] == names
    assert "canary" not in done.stdout + done.stderr + (tmp_path / "doctor.xml").read_text()
