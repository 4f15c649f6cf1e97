"""A Kafka with TLS and SASL: the embedded stack's node with one more listener, for clients only."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from deploy.jars.java import find_java
from deploy.jars.retrieve import ensure_jars
from deploy.local.environment import inherited, java_home
from deploy.local.kafka import KafkaNode
from deploy.local.ports import HOST, PortBlock, find_base_port
from deploy.local.server import Server
from deploy.local.site import Site
from resources.settings import KafkaSettings
from tests.certificates import Authority
from tests.kafka_server import JARS

NAME, USER = "localhost", "lakemill"
SCRAM_PASSWORD, PLAIN_PASSWORD = "canary-scram-password", "canary-plain-password"
_LOGINS = "org.apache.kafka.common.security"
_START_SECONDS = 60


@dataclass(frozen=True)
class SecureKafka:
    """Where the broker listens, and what its clients must have."""

    bootstrap: str
    plain_bootstrap: str
    """A listener without TLS and SASL on the same broker."""
    ca_file: Path
    other_ca_file: Path
    """An authority that signed nothing here."""

    def settings(self, **changes: Any) -> KafkaSettings:
        """Return settings that work, with ``changes``."""
        good = {
            "kafka_bootstrap": self.bootstrap,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ca_file": self.ca_file,
            "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_sasl_username": USER,
            "kafka_sasl_password": SCRAM_PASSWORD,
        }
        return KafkaSettings.model_validate(good | changes)


@contextmanager
def secure_kafka() -> Iterator[SecureKafka]:
    """Yield a running broker without any topic; stop it and remove its files at the end."""
    java = find_java(java_home())
    ensure_jars(JARS, java)
    folder, ports, authority = Path(tempfile.mkdtemp(prefix="lakemill-tls-")), PortBlock(find_base_port()), Authority()
    (folder / "other").mkdir()
    port = ports.of("s3")  # nothing else of the block is used
    kafka = SecureKafka(
        bootstrap=f"{NAME}:{port}",
        plain_bootstrap=ports.address("kafka"),
        ca_file=authority.write_ca(folder),
        other_ca_file=Authority().write_ca(folder / "other"),
    )
    properties = _listener(ports, port, authority.write_pair(NAME, folder))
    server = KafkaNode(Site(folder, JARS, ports, {}, java), properties).server()
    server.prepare()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(server.command, env=inherited({}), stdout=log, stderr=log)
    try:
        _wait(process, server, folder / "log")
        _add_user(kafka.plain_bootstrap)
        yield kafka
    finally:
        process.kill()  # nothing of it is kept, and a broker takes its time to leave
        process.wait(30)
        shutil.rmtree(folder)


def _listener(ports: PortBlock, port: int, key_pair: Path) -> dict[str, str]:
    broker, controller = ports.address("kafka"), ports.address("kafka-controller")
    return {
        "listeners": f"BROKER://{broker},SECURE://{HOST}:{port},CONTROLLER://{controller}",
        "advertised.listeners": f"BROKER://{broker},SECURE://{NAME}:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(key_pair),
        "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{_LOGINS}.scram.ScramLoginModule required;",
        "listener.name.secure.plain.sasl.jaas.config": (
            f'{_LOGINS}.plain.PlainLoginModule required user_{USER}="{PLAIN_PASSWORD}";'
        ),
    }


def _wait(process: "subprocess.Popen[bytes]", server: Server, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.is_ready(0):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Kafka did not start:\n{log.read_text()[-3000:]}")


def _add_user(bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    made = admin.alter_user_scram_credentials(
        [UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, SCRAM_PASSWORD)]
    )
    admin.close()
    assert made == {USER: None}
