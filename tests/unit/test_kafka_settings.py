"""Kafka's settings contradict themselves at once, by the variable's name, and never show a value."""

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from cli.main import app
from resources.settings import ComputeSettings, ControlSettings, KafkaSettings, kafka_settings

SECRET = "canary-kafka-password"
FULL = {
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_sasl_username": "lakemill",
    "kafka_sasl_password": SECRET,
}


def refused(settings: dict[str, str]) -> set[str]:
    """Return the fields that are refused; the refusal must not hold the secret."""
    with pytest.raises(ValidationError) as caught:
        KafkaSettings.model_validate(settings)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    for found in caught.value.errors():
        assert f"LAKEMILL_{str(found['loc'][0]).upper()}" in found["msg"]
    return {str(found["loc"][0]) for found in caught.value.errors()}


def test_without_anything_the_log_is_plain() -> None:
    assert KafkaSettings.model_validate({}).kafka_security_protocol == "PLAINTEXT"


@pytest.mark.parametrize("missing", ["kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password"])
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_sasl_needs_all_three(protocol: str, missing: str) -> None:
    settings = FULL | {"kafka_security_protocol": protocol}
    KafkaSettings.model_validate(settings)
    del settings[missing]
    assert refused(settings) == {missing}


@pytest.mark.parametrize("empty", ["kafka_sasl_username", "kafka_sasl_password"])
def test_an_empty_variable_is_a_missing_one(empty: str) -> None:
    assert refused(FULL | {empty: ""}) == {empty}


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_login_that_would_not_be_used_is_refused(protocol: str) -> None:
    assert refused(FULL | {"kafka_security_protocol": protocol}) == FULL.keys() - {"kafka_security_protocol"}


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_an_authority_that_would_not_be_used_is_refused(protocol: str) -> None:
    login = FULL if protocol == "SASL_PLAINTEXT" else {}
    assert refused(login | {"kafka_security_protocol": protocol, "kafka_ca_file": "/ca.pem"}) == {"kafka_ca_file"}


def test_no_refused_secret_is_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        ControlSettings.model_validate({"database_url": "postgresql://", "internal_secret": "canary-short"})
    assert "canary-short" not in str(caught.value)


def test_the_command_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FULL.items():
        monkeypatch.setenv(f"LAKEMILL_{name.upper()}", value)
    monkeypatch.delenv("LAKEMILL_KAFKA_SASL_USERNAME")
    kafka_settings.cache_clear()
    result = CliRunner().invoke(app, ["topics", "ensure"])
    assert result.exit_code == 3
    assert "LAKEMILL_KAFKA_SASL_USERNAME" in result.output
    assert SECRET not in result.output


def test_direct_topics_are_read_by_both_planes() -> None:
    needed = {"database_url": "postgresql://", "internal_secret": "internal-secret-of-the-tests"}
    named = {**needed, "direct_topics": " a.b = acme,c=acme , "}
    assert ControlSettings.model_validate(named).direct_topics == {"a.b": "acme", "c": "acme"}
    assert ComputeSettings.model_validate(named).direct_topics == {"a.b": "acme", "c": "acme"}
    assert KafkaSettings.model_validate({"direct_topics": ""}).direct_topics == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a", "'a' is not TOPIC=TENANT"),
        ("=acme", "'' is no topic"),
        ("..=acme", "'..' is no topic"),
        ("a b=acme", "'a b' is no topic"),
        ("x" * 250 + "=acme", "is no topic"),
        ("a=acme,a=bolt", "'a' stands twice"),
        ("a=Acme", "the tenant of 'a' must be 1 to 63 lower-case"),
        ("a=", "the tenant of 'a' must be"),
        ("a=b=c", "the tenant of 'a' must be"),
        (",".join(f"t{number}=acme" for number in range(33)), "33 topics are more than 32"),
    ],
)
def test_wrong_direct_topics_are_named(text: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KafkaSettings.model_validate({"direct_topics": text})
    (found,) = caught.value.errors()
    assert (found["loc"], words in found["msg"]) == (("direct_topics",), True), found


@pytest.mark.parametrize("named", [{"kafka_topic": "a"}, {}])
def test_the_relays_topic_is_no_direct_one(named: dict[str, str]) -> None:
    assert refused({**named, "direct_topics": f"{named.get('kafka_topic', 'lakemill.processes')}=acme"}) == {
        "kafka_topic"
    }


def test_the_command_names_wrong_direct_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEMILL_DIRECT_TOPICS", "a")
    kafka_settings.cache_clear()
    result = CliRunner().invoke(app, ["topics", "ensure"])
    kafka_settings.cache_clear()
    assert result.exit_code == 3
    assert "LAKEMILL_DIRECT_TOPICS: 'a' is not TOPIC=TENANT" in result.output
