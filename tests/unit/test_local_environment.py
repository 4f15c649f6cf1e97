from pathlib import Path

import pytest

from deploy.local.environment import ENV_FILE, inherited, read_env, write_env
from deploy.local.ports import PortBlock
from resources.settings import ComputeSettings, ControlSettings

JARS = Path("/jars")


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    write_env(tmp_path, PortBlock(8400), JARS)
    assert (tmp_path / ENV_FILE).stat().st_mode & 0o777 == 0o600


def test_secrets_stay_and_addresses_follow_the_ports(tmp_path: Path) -> None:
    first = write_env(tmp_path, PortBlock(8400), JARS)
    second = write_env(tmp_path, PortBlock(9000), JARS)
    secrets = [name for name in first if name.endswith(("_PASSWORD", "_SECRET", "_KEY"))]
    assert len(secrets) == 7
    assert len({first[name] for name in secrets}) == 7
    assert [first[name] for name in secrets] == [second[name] for name in secrets]
    assert second["LAKEMILL_API_URL"] == "http://127.0.0.1:9000"
    assert read_env(tmp_path) == second


def test_the_schedules_keys_that_an_operator_has_added_stay(tmp_path: Path) -> None:
    write_env(tmp_path, PortBlock(8400), JARS)
    with (tmp_path / ENV_FILE).open("a") as file:
        file.write("LAKEMILL_SCHEDULE_KEYS=default=lm_key\nLAKEMILL_OTHER=x\n")
    assert write_env(tmp_path, PortBlock(8400), JARS)["LAKEMILL_SCHEDULE_KEYS"] == "default=lm_key"
    assert "LAKEMILL_OTHER" not in read_env(tmp_path)


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert read_env(tmp_path) == {}


def test_the_settings_read_the_file(tmp_path: Path) -> None:
    content = write_env(tmp_path, PortBlock(9000), JARS)
    control = ControlSettings(_env_file=tmp_path / ENV_FILE)
    compute = ComputeSettings(_env_file=tmp_path / ENV_FILE)
    assert control.database_url.get_secret_value() == content["LAKEMILL_DATABASE_URL"]
    assert control.callback_allow == ("127.0.0.0/8",)
    assert compute.kafka_bootstrap == "127.0.0.1:9003"
    assert compute.jars_dir == JARS / "spark"


def test_a_server_inherits_no_foreign_setting_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("LAKEMILL_KAFKA_TOPIC", "foreign")
    monkeypatch.setenv("DAGSTER_HOME", "/foreign")
    monkeypatch.setenv("NO_PROXY", "example.com")
    env = inherited({"LAKEMILL_API_URL": "http://127.0.0.1:1", "LAKEMILL_SUPERUSER_PASSWORD": "secret"})
    assert env.keys().isdisjoint({"PYTHONDONTWRITEBYTECODE", "LAKEMILL_KAFKA_TOPIC", "DAGSTER_HOME"})
    assert "LAKEMILL_SUPERUSER_PASSWORD" not in env
    assert env["LAKEMILL_API_URL"] == "http://127.0.0.1:1"
    assert env["no_proxy"] == "example.com,127.0.0.1,localhost"


def test_direct_topics_come_from_the_shell_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "LAKEMILL_DIRECT_TOPICS" not in write_env(tmp_path, PortBlock(8400), JARS)
    monkeypatch.setenv("LAKEMILL_DIRECT_TOPICS", "a=acme, b=bolt")
    write_env(tmp_path, PortBlock(8400), JARS)
    monkeypatch.delenv("LAKEMILL_DIRECT_TOPICS")
    assert write_env(tmp_path, PortBlock(8400), JARS)["LAKEMILL_DIRECT_TOPICS"] == "a=acme,b=bolt"
    assert ComputeSettings(_env_file=tmp_path / ENV_FILE).direct_topics == {"a": "acme", "b": "bolt"}
