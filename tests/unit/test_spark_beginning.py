"""Spark begun before it is needed: in a thread, once, and never for another profile than the one that is asked for."""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from contracts.messages import Profile
from orchestration import early_spark
from resources.settings import ComputeSettings
from resources.spark import beginning
from resources.spark import session as spark_session
from resources.spark.session import SparkSessions
from resources.spark.storage import SparkUnavailableError

SMALL, LARGE = Profile(driver_memory="1g"), Profile(driver_memory="2g")


class Jvm:
    """In the place of Spark: keeps what was started, where, and what was stopped. ``may_start`` lets it."""

    def __init__(self) -> None:
        self.heaps: list[str] = []
        self.threads: list[str] = []
        self.stopped: list[Any] = []
        self.may_start = threading.Event()
        self.sparkContext = self

    def start(self, config: dict[str, str]) -> Any:
        self.heaps.append(config["spark.driver.memory"])
        self.threads.append(threading.current_thread().name)
        assert self.may_start.wait(10)
        return self


@pytest.fixture
def jvm(monkeypatch: pytest.MonkeyPatch) -> Jvm:
    made = Jvm()
    monkeypatch.setattr(spark_session, "jvm", lambda *_: nullcontext())
    monkeypatch.setattr(beginning, "activate", lambda _: None)
    monkeypatch.setattr(spark_session, "give_access", lambda *_: None)
    monkeypatch.setattr(spark_session, "assert_committer", lambda _: None)
    monkeypatch.setattr(spark_session, "stop_session", made.stopped.append)
    return made


def settings_of(jars_dir: Path, run_profile: str | None = None) -> ComputeSettings:
    secret = SecretStr("internal-secret-of-the-tests")
    return ComputeSettings(internal_secret=secret, jars_dir=jars_dir, run_profile=run_profile)


def sessions(jvm: Jvm, jars_dir: Path) -> SparkSessions:
    (jars_dir / "spark-hadoop-cloud_1.jar").touch()
    return SparkSessions(settings_of(jars_dir), start=jvm.start)


def test_what_was_begun_is_what_is_opened(jvm: Jvm, tmp_path: Path) -> None:
    made = sessions(jvm, tmp_path)
    made.begin(SMALL)
    made.begin(SMALL)
    jvm.may_start.set()
    opened: list[Any] = [made.open(SMALL), made.open(SMALL)]
    assert opened == [jvm, jvm]
    made.begin(SMALL)
    assert (jvm.heaps, jvm.threads) == (["1024m"], ["spark-start"])
    made.close()
    assert jvm.stopped == [jvm]


def test_another_profile_than_was_begun_starts_another_jvm(jvm: Jvm, tmp_path: Path) -> None:
    made = sessions(jvm, tmp_path)
    made.begin(SMALL)
    jvm.may_start.set()
    made.open(LARGE)
    assert (jvm.heaps, len(jvm.stopped)) == (["1024m", "2048m"], 1)


def test_what_goes_wrong_is_raised_to_who_needs_it(jvm: Jvm, tmp_path: Path) -> None:
    made = sessions(jvm, tmp_path)
    (tmp_path / "spark-hadoop-cloud_1.jar").unlink()
    made.begin(SMALL)
    with pytest.raises(SparkUnavailableError, match="no committer jar"):
        made.open(SMALL)
    made.begin(SMALL)
    made.close()
    assert jvm.stopped == []


def test_what_nobody_needed_is_stopped(jvm: Jvm, tmp_path: Path) -> None:
    made = sessions(jvm, tmp_path)
    made.begin(SMALL)
    jvm.may_start.set()
    made.close()
    assert jvm.stopped == [jvm]


@pytest.mark.parametrize("named", [None, "", "{", '{"driver_memory": "much"}'])
def test_without_a_profile_nothing_is_begun(named: str | None, tmp_path: Path) -> None:
    with capture_logs() as logs:
        early_spark.begin(settings_of(tmp_path, run_profile=named))
    assert early_spark.begun() is None
    assert [entry["event"] for entry in logs] == (["spark.not_begun"] if named is not None else [])
    assert "much" not in str(logs)


def test_a_run_takes_what_was_begun_for_its_pod(jvm: Jvm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = sessions(jvm, tmp_path)
    monkeypatch.setattr(spark_session, "SparkSessions", lambda *_, **__: made)
    jvm.may_start.set()
    early_spark.begin(settings_of(tmp_path, run_profile=LARGE.model_dump_json(exclude_defaults=True)))
    assert early_spark.begun() is made
    assert early_spark.begun() is None
    opened: Any = made.open(LARGE)
    assert opened is jvm
    assert jvm.heaps == ["2048m"]
