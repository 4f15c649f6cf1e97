"""What the doctor was given: the options, and the settings of this process as far as they are there."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from cli.settings import setting_errors
from contracts.problems import LakemillError
from resources.cluster.port import ClusterAbsentError
from resources.cluster.review import ClusterReview
from resources.settings import ComputeSettings, ControlSettings, KafkaSettings, LakeSettings

if TYPE_CHECKING:
    from httpcore import AsyncNetworkBackend

    from resources.callbacks.resolver import Resolver

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
JARS_SUMS, RBAC = DEPLOY / "jars" / "SHA256SUMS", DEPLOY / "chart" / "rbac.yaml"
_Settings = TypeVar("_Settings", bound=BaseSettings)
_Made = TypeVar("_Made")


class NotConfiguredError(LakemillError):
    """The settings that a check needs are absent here: a skip, unless somebody asked for its group."""


class ConfigurationError(LakemillError):
    """A setting is there and wrong. Exit code 3."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    writers: int = 8
    rounds: int = 20
    callback: str | None = None
    logs_bucket: str | None = None
    namespace: str | None = None
    release: str | None = None
    image: str | None = None
    partitions: int = 1
    replication_factor: int = 1


@dataclass(frozen=True, slots=True)
class Outside:
    """How receivers of callbacks are reached; None is the machine's own way."""

    resolve: "Resolver | None" = None
    network: "AsyncNetworkBackend | None" = None
    ssl_context: SSLContext | None = None


class Site:
    """One deployment as it is seen from this process. What is None is not configured here."""

    def __init__(  # noqa: PLR0913 - one for each thing that is not ours
        self,
        options: Options,
        *,
        lake: LakeSettings | None = None,
        kafka: KafkaSettings | None = None,
        control: ControlSettings | None = None,
        compute: ComputeSettings | None = None,
        connect: Callable[[str | None], ClusterReview] | None = None,
        outside: Outside | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.options = options
        self._lake = lake
        self._kafka = kafka
        self._control = control
        self.compute = compute
        self._connect = connect or _connect
        self.outside = outside or Outside()
        self.clock = clock
        self.sleep = sleep
        self._made: dict[str, Any] = {}
        self._open = ExitStack()

    @classmethod
    def from_environment(cls, options: Options) -> "Site":
        """Read what the environment holds. Raises ConfigurationError naming each variable that cannot be used."""
        lake, kafka = _read(LakeSettings), _read(KafkaSettings)
        return cls(
            options,
            # Every field of these two has a default that fits the embedded stack: what nobody set says nothing.
            lake=lake if lake and lake.model_fields_set else None,
            kafka=kafka if kafka and "kafka_bootstrap" in kafka.model_fields_set else None,
            control=_read(ControlSettings),
            compute=_read(ComputeSettings),
        )

    @property
    def lake(self) -> LakeSettings:
        """The object store. Raises NotConfiguredError."""
        if self._lake is None:
            raise NotConfiguredError("no object store is configured here (LAKEMILL_LAKE_BUCKET, LAKEMILL_S3_…)")
        return self._lake

    @property
    def kafka(self) -> KafkaSettings:
        """The log. Raises NotConfiguredError."""
        if self._kafka is None:
            raise NotConfiguredError("no Kafka is configured here (LAKEMILL_KAFKA_BOOTSTRAP)")
        return self._kafka

    @property
    def has_control(self) -> bool:
        """Whether this process has what the API and the worker need."""
        return self._control is not None

    @property
    def control(self) -> ControlSettings:
        """The control plane. Raises NotConfiguredError."""
        if self._control is None:
            raise NotConfiguredError(
                "the control plane is not configured here (LAKEMILL_DATABASE_URL, LAKEMILL_INTERNAL_SECRET)"
            )
        return self._control

    @property
    def dagster_database_url(self) -> SecretStr:
        """Dagster's storage, for reading. Raises NotConfiguredError."""
        url = self.control.dagster_database_url
        if url is None:
            raise NotConfiguredError("Dagster's storage is not configured here (LAKEMILL_DAGSTER_DATABASE_URL)")
        return url

    @property
    def cluster(self) -> ClusterReview:
        """The Kubernetes API. Raises NotConfiguredError outside a cluster, ClusterError when it does not answer."""

        def connect() -> ClusterReview:
            cluster = self._connect(self.options.namespace)
            cluster.user()
            return cluster

        return self.once("cluster", connect)

    def once(self, name: str, make: Callable[[], _Made], close: Callable[[_Made], None] | None = None) -> _Made:
        """Return what ``make`` makes, made once for all checks. Raises what ``make`` raised, without a second try.

        So a server that is away costs one timeout and not one for each check.
        """
        if name not in self._made:
            try:
                made = make()
            except LakemillError as error:
                self._made[name] = error
            else:
                self._made[name] = made
                if close:
                    self._open.callback(close, made)
        found = self._made[name]
        if isinstance(found, LakemillError):
            raise found
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close what was made once, and forget it."""
        self._open.close()
        self._made.clear()

    def secrets(self) -> Iterator[str]:
        """Yield every text that must not be printed."""
        for settings in (self._lake, self._kafka, self._control, self.compute):
            values = [] if settings is None else [getattr(settings, name) for name in type(settings).model_fields]
            values += [each for value in values if isinstance(value, Mapping) for each in value.values()]
            for secret in (value.get_secret_value() for value in values if isinstance(value, SecretStr)):
                yield secret
                if "://" in secret and (password := urlsplit(secret).password):
                    yield from (password, unquote(password))


def _read(settings: type[_Settings]) -> _Settings | None:
    """Return the settings, or None when a required one is absent. Raises ConfigurationError."""
    try:
        return settings()
    except ValidationError as error:
        if refused := setting_errors(error, with_missing=False):
            raise ConfigurationError("; ".join(refused)) from None
        return None


def _connect(namespace: str | None) -> ClusterReview:
    if find_spec("kubernetes") is None:
        raise NotConfiguredError("this image has no Kubernetes client; run it in the compute image")
    from resources.cluster.kubernetes_review import KubernetesReview

    try:
        return KubernetesReview.connect(namespace)
    except ClusterAbsentError as error:
        raise NotConfiguredError(str(error)) from error
