"""Kafka with TLS and SASL, a real broker: both directions work, and each wrong setting is told without a secret."""

import asyncio
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner, Result

from cli.main import app
from contracts.cursor import Cursor
from resources.kafka.admin import TopicError, broker_answers, ensure_direct_topics, ensure_topic
from resources.kafka.client import KafkaRelay, connect
from resources.kafka.log import KafkaRecordLog
from resources.log import OutgoingRecord, RecordLogError
from resources.settings import KafkaSettings, kafka_settings
from tests.secure_kafka import PLAIN_PASSWORD, SCRAM_PASSWORD, SecureKafka, secure_kafka

WRONG = "canary-wrong-password"
NO_SASL: dict[str, Any] = {"kafka_sasl_mechanism": None, "kafka_sasl_username": None, "kafka_sasl_password": None}


@pytest.fixture(scope="module")
def broker() -> Iterator[SecureKafka]:
    with secure_kafka() as kafka:
        yield kafka


def new_topic() -> str:
    return f"lakemill.test.{uuid4()}"


def round_trip(settings: KafkaSettings, value: bytes) -> list[bytes | None]:
    """Publish one record through the relay and read the topic through the log."""

    async def publish() -> Any:
        relay = KafkaRelay(settings)
        try:
            return await relay.publish([OutgoingRecord(b"k", value)])
        finally:
            await relay.close()

    (position,) = asyncio.run(publish())
    assert position is not None
    log = KafkaRecordLog(settings)
    try:
        polled = log.poll(Cursor(), wait_seconds=10, max_records=10)
    finally:
        log.close()
    assert [record.position for record in polled.records] == [position]
    return [record.value for record in polled.records]


@pytest.mark.parametrize(
    ("mechanism", "password"), [("SCRAM-SHA-512", SCRAM_PASSWORD), ("PLAIN", PLAIN_PASSWORD)], ids=["scram", "plain"]
)
def test_a_record_goes_through_tls_and_sasl(
    broker: SecureKafka, mechanism: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = broker.settings(
        kafka_topic=new_topic(),
        kafka_sasl_mechanism=mechanism,
        kafka_sasl_password=password,
        kafka_max_record_bytes=500,
    )
    assert broker_answers(settings)
    assert ensure_topic(settings, partitions=1)
    assert round_trip(settings, b"secret business") == [b"secret business"]
    assert password not in caplog.text


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "wrong password": ({"kafka_sasl_password": WRONG}, "LAKEMILL_KAFKA_SASL_PASSWORD"),
    "wrong mechanism": ({"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "LAKEMILL_KAFKA_SASL_MECHANISM"),
    "no login": (NO_SASL | {"kafka_security_protocol": "SSL"}, "LAKEMILL_KAFKA_SECURITY_PROTOCOL"),
    "no tls": (
        NO_SASL | {"kafka_security_protocol": "PLAINTEXT", "kafka_ca_file": None},
        "LAKEMILL_KAFKA_SECURITY_PROTOCOL",
    ),
    "system authorities only": ({"kafka_ca_file": None}, "not trusted.*LAKEMILL_KAFKA_CA_FILE"),
    "absent authority": ({"kafka_ca_file": Path("/absent/ca.pem")}, r"LAKEMILL_KAFKA_CA_FILE \(/absent/ca.pem\)"),
}


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_wrong_setting_is_named_and_no_secret_is_told(broker: SecureKafka, wrong: str) -> None:
    changes, told = REFUSALS[wrong]
    with pytest.raises(RecordLogError, match=told) as caught:
        KafkaRecordLog(broker.settings(**changes)).poll(Cursor(), wait_seconds=0.1, max_records=1)
    text = "".join(traceback.format_exception(caught.value))
    assert WRONG not in text
    assert SCRAM_PASSWORD not in text


def test_an_authority_that_signed_nothing_here_is_not_enough(broker: SecureKafka) -> None:
    settings = broker.settings(kafka_ca_file=broker.other_ca_file)
    with pytest.raises(TopicError, match=r"not trusted.*LAKEMILL_KAFKA_CA_FILE"):
        ensure_topic(settings, wait_seconds=60)  # a certificate does not mend itself: this ends after one try
    assert not broker_answers(settings)


def test_the_host_name_is_checked(broker: SecureKafka) -> None:
    by_number = broker.bootstrap.replace("localhost", "127.0.0.1")
    with pytest.raises(TopicError, match=r"not trusted.*not valid for '127.0.0.1'"):
        ensure_topic(broker.settings(kafka_bootstrap=by_number))


def test_tls_to_a_listener_without_tls_is_told(broker: SecureKafka) -> None:
    with pytest.raises(TopicError, match=r"does not speak TLS.*LAKEMILL_KAFKA_SECURITY_PROTOCOL"):
        ensure_topic(broker.settings(kafka_bootstrap=broker.plain_bootstrap))


def test_direct_topics_are_made_and_read_over_tls_and_sasl(broker: SecureKafka) -> None:
    direct = new_topic()
    settings = broker.settings(kafka_topic=new_topic(), direct_topics={direct: "acme"})
    assert ensure_topic(settings, partitions=1)
    assert ensure_direct_topics(settings, partitions=1) == {direct: True}
    assert ensure_direct_topics(settings, partitions=4) == {direct: False}
    producer = connect(KafkaProducer, settings)
    producer.send(direct, b"a request", headers=[("idempotency-key", b"one")]).get(10)
    producer.close(timeout=5)
    log = KafkaRecordLog(settings)
    try:
        cursor = log.poll(Cursor(), wait_seconds=0, max_records=10).cursor  # where it stands, whatever came already
        polled = log.poll(Cursor(), wait_seconds=10, max_records=10)
    finally:
        log.close()
    assert cursor.topics.keys() == {settings.kafka_topic, direct}
    assert [(record.topic, record.value) for record in polled.records] == [(direct, b"a request")]
    assert [(header.name, header.value) for header in polled.records[0].headers] == [(b"idempotency-key", b"one")]


class TestTopics:
    """What ``lakemill topics ensure`` makes, leaves alone and complains of."""

    def test_the_shortcomings_of_an_existing_topic_are_told(self, broker: SecureKafka) -> None:
        settings = broker.settings(kafka_topic=new_topic(), kafka_max_record_bytes=1_000)
        assert ensure_topic(settings, partitions=2, replication_factor=1)
        assert not ensure_topic(settings, partitions=2)
        assert not ensure_topic(settings, partitions=1)
        with pytest.raises(TopicError, match=r"2 partitions instead of 3.*--alter"):
            ensure_topic(settings, partitions=3)
        with pytest.raises(TopicError, match=r"1 replicas instead of 2.*--replication-factor 1"):
            ensure_topic(settings, partitions=2, replication_factor=2)
        larger = settings.model_copy(update={"kafka_max_record_bytes": 2_000})
        with pytest.raises(TopicError, match=r"max\.message\.bytes is 4000.*max\.message\.bytes=8000"):
            ensure_topic(larger, partitions=2)

    def test_a_broker_that_cannot_hold_the_replicas_says_so(self, broker: SecureKafka) -> None:
        with pytest.raises(TopicError, match=r"cannot be checked or made: .*InvalidReplicationFactor"):
            ensure_topic(broker.settings(kafka_topic=new_topic()), replication_factor=3)

    def test_the_command(self, broker: SecureKafka, monkeypatch: pytest.MonkeyPatch) -> None:
        topic, settings = new_topic(), broker.settings()
        for name, value in settings.model_dump(exclude_unset=True).items():
            shown = value.get_secret_value() if name == "kafka_sasl_password" else str(value)
            monkeypatch.setenv(f"LAKEMILL_{name.upper()}", shown)
        monkeypatch.setenv("LAKEMILL_KAFKA_TOPIC", topic)
        kafka_settings.cache_clear()
        first, second = (ensure("--partitions", "2", "--replication-factor", "1") for _ in range(2))
        more = ensure("--partitions", "9")
        kafka_settings.cache_clear()
        assert (first.exit_code, first.output) == (0, f"{topic} is made.\n")
        assert (second.exit_code, second.output) == (0, f"{topic} was there and is as it must be.\n")
        assert more.exit_code == 1
        assert "2 partitions instead of 9" in more.output


def ensure(*options: str) -> Result:
    return CliRunner().invoke(app, ["topics", "ensure", *options])
