"""Apache Kafka 4.1 in KRaft mode: one node that is broker and controller, run from the jars of ``deploy/jars``."""

import base64
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from contracts.direct_topics import parse_direct_topics
from deploy.local.errors import ServerFailedError
from deploy.local.server import STORAGE_WAVE, Server
from deploy.local.site import CompleteFolder, Site
from resources.kafka.admin import broker_answers, ensure_direct_topics, ensure_topic
from resources.settings import KafkaSettings

_LOG_CONFIG = Path(__file__).parent / "kafka-log4j2.xml"


class KafkaNode:
    """The node below ``kafka/``: formatted once; its configuration is written anew at each start.

    ``extra`` properties win over our own; a test adds a listener with TLS and SASL.
    """

    def __init__(self, site: Site, extra: Mapping[str, str] | None = None) -> None:
        self._site = site
        self._extra = dict(extra or {})
        self._state = CompleteFolder("kafka", site.folder("kafka"))
        self._configuration = self._state.path / "server.properties"

    def server(self) -> Server:
        """Return the server; once ready, the topics exist."""
        settings = self._client_settings()
        return Server(
            name="kafka",
            command=self._java("kafka.Kafka", str(self._configuration)),
            address=settings.kafka_bootstrap,
            is_ready=lambda _: broker_answers(settings),
            prepare=self._prepare,
            settle=self._settle,
            wave=STORAGE_WAVE,
        )

    def _prepare(self) -> None:
        self._state.check()
        self._state.path.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        if self._state.marker.exists():
            return
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        # Kafka refuses ids that begin with a dash.
        command = self._java(
            "kafka.tools.StorageTool", "format", "-t", f"L{cluster_id[1:]}", "-c", str(self._configuration)
        )
        done = subprocess.run(
            command, env=self._site.tool_env(), capture_output=True, text=True, check=False, start_new_session=True
        )
        if done.returncode != 0:
            raise ServerFailedError("kafka", "could not format its folder", self._state.path, done.stderr[-2000:])
        self._state.complete()

    def _settle(self) -> None:
        ensure_topic(self._client_settings())
        ensure_direct_topics(self._client_settings())

    def _client_settings(self) -> KafkaSettings:
        return KafkaSettings(
            kafka_bootstrap=self._site.ports.address("kafka"),
            # Explicit: what the shell says of another broker must not hold for this one.
            kafka_security_protocol="PLAINTEXT",
            kafka_ca_file=None,
            kafka_sasl_mechanism=None,
            kafka_sasl_username=None,
            kafka_sasl_password=None,
            direct_topics=parse_direct_topics(self._site.variables.get("LAKEMILL_DIRECT_TOPICS", "")),
        )

    def _java(self, main: str, *arguments: str) -> tuple[str, ...]:
        small = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        logging = f"-Dlog4j2.configurationFile={_LOG_CONFIG}"
        return (str(self._site.java), *small, logging, "-cp", f"{self._site.jars_dir}/broker/*", main, *arguments)

    def _properties(self) -> dict[str, str]:
        broker, controller = self._site.ports.address("kafka"), self._site.ports.address("kafka-controller")
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"BROKER://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{broker}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._state.path / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "log.cleaner.dedupe.buffer.size": "16777216",
            **self._extra,
        }
