"""Kafka's own client, in Java, which writes records in ways that ours does not: from the broker's jars, by Py4J."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark
from py4j.java_gateway import JavaGateway

from deploy.jars.java import find_java
from deploy.local.environment import java_home
from tests.kafka_server import JARS

Send = Callable[[str, bytes, str], None]
_BYTES = "org.apache.kafka.common.serialization.ByteArraySerializer"


@contextmanager
def java_producers(bootstrap: str) -> Iterator[Callable[[str], Send]]:
    """Yield what makes a producer that compresses so: it sends to a topic a value, with an idempotency key."""
    (py4j,) = (Path(pyspark.__file__).parent / "jars").glob("py4j-*.jar")
    java = str(find_java(java_home()))
    gateway = JavaGateway.launch_gateway(
        jarpath=str(py4j), classpath=str(JARS / "broker" / "*"), java_path=java, die_on_exit=True
    )
    clients = gateway.jvm.org.apache.kafka.clients.producer

    def make(compression: str) -> Send:
        settings = gateway.jvm.java.util.Properties()
        settings.put("bootstrap.servers", bootstrap)
        settings.put("compression.type", compression)
        settings.put("key.serializer", _BYTES)
        settings.put("value.serializer", _BYTES)
        producer = clients.KafkaProducer(settings)

        def send(topic: str, value: bytes, key: str) -> None:
            record = clients.ProducerRecord(topic, value)
            record.headers().add("idempotency-key", key.encode())
            producer.send(record).get()
            producer.close()

        return send

    try:
        yield make
    finally:
        gateway.shutdown()
        gateway.java_process.stdin.close()
        gateway.java_process.wait(10)
