"""Every setting of Lakemill, read from the environment (prefix ``LAKEMILL_``) or from the embedded stack's file.

This is the only module that reads the environment. Each process builds the one class it needs, once, and passes it on:
the control plane never holds a Spark setting, and the compute plane never holds a database address.
"""

import os
import ssl
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.direct_topics import parse_direct_topics
from contracts.sources import checked_prefixes, comma_separated

STATE_DIR = Path(os.environ.get("LAKEMILL_STATE_DIR", ".lakemill")).absolute()
"""Where the embedded stack keeps its state; a deployment leaves it unset."""
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="LAKEMILL_",
        env_file=STATE_DIR / "lakemill.env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a refused secret must not be shown by its refusal
    )


class LakeSettings(_Settings):
    """The object store: where snapshots lie and how to reach it."""

    lake_bucket: str = "lake"
    landing_bucket: str = "landing"
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_access_key: str | None = None
    s3_secret_key: SecretStr | None = None
    s3_ca_file: Path | None = None
    """PEM file of the authority that signed the store's certificate; the system's own ones when unset."""
    permit_seconds: int = Field(120, ge=5, le=3600)
    """How long a presigned commit, and so a commit permit, is valid."""
    register_sources: Annotated[CommaSeparated, AfterValidator(checked_prefixes)] = ()
    """``s3://bucket/{tenant}/{entity_id}/``, …: where else deliveries may lie than in the landing bucket."""

    @field_validator("s3_ca_file")
    @classmethod
    def _readable_and_of_use(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return None
        if (endpoint := info.data.get("s3_endpoint") or "").startswith("http:"):
            raise ValueError(f"LAKEMILL_S3_CA_FILE is set, but LAKEMILL_S3_ENDPOINT is {endpoint}")
        try:
            ssl.create_default_context(cafile=value)
        except OSError as error:
            raise ValueError(f"LAKEMILL_S3_CA_FILE ({value}) is not a readable PEM file: {error}") from error
        return value


class DirectTopicSettings(_Settings):
    """Where producers write requests to Kafka themselves."""

    direct_topics: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    """``topic=tenant,topic2=tenant2``: whoever may write to a topic speaks for its tenant."""

    @field_validator("direct_topics", mode="before")
    @classmethod
    def _topic_to_tenant(cls, value: object) -> object:
        return parse_direct_topics(value) if isinstance(value, str) else value


class KafkaSettings(DirectTopicSettings):
    """The log between the planes, and the producers' topics beside it."""

    kafka_bootstrap: str = "127.0.0.1:8403"
    kafka_topic: str = Field("lakemill.processes", validate_default=True)
    kafka_max_record_bytes: int = 1_048_576
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_ca_file: Path | None = None
    """As ``s3_ca_file``, for the brokers' certificates."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(None, validate_default=True)
    kafka_sasl_username: str | None = Field(None, validate_default=True)
    kafka_sasl_password: SecretStr | None = Field(None, validate_default=True)

    @field_validator("kafka_topic")
    @classmethod
    def _no_direct_topic(cls, value: str, info: ValidationInfo) -> str:
        if value in info.data.get("direct_topics", {}):
            raise ValueError(f"LAKEMILL_DIRECT_TOPICS names the relay's own topic {value!r} (LAKEMILL_KAFKA_TOPIC)")
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _only_with_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and "SSL" not in (protocol := info.data.get("kafka_security_protocol", "SSL")):
            raise ValueError(f"LAKEMILL_KAFKA_CA_FILE is set, but LAKEMILL_KAFKA_SECURITY_PROTOCOL is {protocol}")
        return value

    @field_validator("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
    @classmethod
    def _only_with_sasl(cls, value: object, info: ValidationInfo) -> object:
        protocol = info.data.get("kafka_security_protocol")  # absent when it is itself refused
        variable = f"LAKEMILL_{str(info.field_name).upper()}"
        if protocol is not None and protocol.startswith("SASL") and not value:
            raise ValueError(f"LAKEMILL_KAFKA_SECURITY_PROTOCOL is {protocol}: set {variable}")
        if protocol is not None and not protocol.startswith("SASL") and value:
            raise ValueError(f"{variable} is set, but LAKEMILL_KAFKA_SECURITY_PROTOCOL is {protocol}")
        return value


class PlaneLinkSettings(_Settings):
    """What both planes know of each other: the address of the API and the key that signs calls to it."""

    api_url: str = "http://127.0.0.1:8400"
    internal_secret: SecretStr
    """At least 24 characters; signs intake, launches, reports and the catalogue (HMAC-SHA256)."""

    @field_validator("internal_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 24:
            raise ValueError("LAKEMILL_INTERNAL_SECRET must have at least 24 characters")
        return value


class ClientSettings(_Settings):
    """A caller of the REST API."""

    api_url: str = "http://127.0.0.1:8400"
    api_key: SecretStr


class ControlSettings(LakeSettings, KafkaSettings, PlaneLinkSettings):
    """The API and the worker."""

    database_url: SecretStr
    """``postgresql+asyncpg://…``: the control plane's own database."""
    dagster_database_url: SecretStr | None = None
    """``postgresql+asyncpg://…``: Dagster's storage, by a role that may only read it."""
    dagster_url: str = "http://127.0.0.1:8401"
    """Dagster's writable webserver, as the control plane reaches it."""
    dagster_ui_url: str = Field("", validate_default=True)
    """Where people open Dagster's pages: what links to runs begin with. ``dagster_url`` when unset."""
    callback_allow: CommaSeparated = ()
    """Networks (CIDR) that callbacks may reach although they are not public; there http and any port are allowed."""
    own_report_urls: CommaSeparated = ("https://api.internal/v1/processes/callback",)
    """Callback addresses that mean "no external delivery": our own report endpoint, as producers may write it."""
    max_in_flight: int = Field(200, ge=1)
    """Processes released and not yet terminal, at most."""
    max_attempts: int = Field(3, ge=1)
    release_interval: float = 0.25
    callback_interval: float = 0.5
    reconcile_interval: float = 30.0
    retain_processes_days: int = Field(90, ge=1)
    """How long an ended process is kept, with its events, callbacks and runs in Dagster. What it published stays."""
    retain_idempotency_days: int = Field(7, ge=1)
    """How long a repeated Idempotency-Key gets its first answer."""
    retain_dead_letters_days: int = Field(30, ge=1)
    retention_interval: float = 60.0
    worker_heartbeat_file: Path | None = None
    """Touched by the worker each second while all its loops are well; for readiness and liveness probes."""
    clock_skew_seconds: int = 5
    """Added to a permit's life before a process may end without success."""

    @model_validator(mode="after")
    def _keys_lead_somewhere(self) -> Self:
        if self.retain_processes_days < self.retain_idempotency_days:
            raise ValueError("LAKEMILL_RETAIN_PROCESSES_DAYS must be at least LAKEMILL_RETAIN_IDEMPOTENCY_DAYS")
        return self

    @field_validator("dagster_ui_url")
    @classmethod
    def _else_the_webserver(cls, value: str, info: ValidationInfo) -> str:
        return value or str(info.data.get("dagster_url", ""))  # absent when it is itself refused


class ComputeSettings(LakeSettings, KafkaSettings, PlaneLinkSettings):
    """The sensors, the schedules and the runs."""

    jars_dir: Path = Path("jars")
    """One folder with the S3A and committer jars, on the driver's and the executors' class path."""
    spark_archive: Path | None = None
    """Class-data archive (AppCDS) for the driver's JVM; a JVM that it does not fit ignores it."""
    spark_master: str = "local[*]"
    """``local[n]``, or ``k8s://https://…``: then the executors are pods, and the settings below say where and how."""
    pod_name: str | None = None
    pod_namespace: str | None = None
    pod_ip: str | None = None
    """This very pod, from the downward API: the driver's address, and the owner of the executors."""
    run_profile: str | None = None
    """The profile of the run that this pod is for, as JSON (``orchestration/early_spark.py``)."""
    executor_service_account: str = "default"
    executor_template: Path = Path("/etc/lakemill/executor-template.yaml")
    """The pod that every executor begins as: security context, volumes, where it may run."""
    executor_start_seconds: float = Field(120.0, gt=0)
    """How long a run waits for its first executor before it asks the cluster why there is none, and fails."""
    poll_seconds: float = Field(20.0, gt=0, le=40)
    """How long one sensor tick waits for records; the tick must end well within Dagster's 60 s."""
    poll_records: int = Field(500, ge=1, le=500)
    landing_unpacked_bytes: int = Field(2**40, ge=1)
    """What the files of one landing input may be at most, once they are unpacked: a bomb ends before it is read."""
    live_versions: int = Field(10, ge=1)
    """How many data versions stay in Dagster's partitions, beside those with runs that have not ended."""
    schedule_keys: Annotated[Mapping[str, SecretStr], NoDecode] = Field(default_factory=dict)
    """Tenant → API key with the scope ``submit``, for the schedules: ``tenant=key``, several separated by commas."""

    @field_validator("schedule_keys", mode="before")
    @classmethod
    def _tenant_equals_key(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if any(not (tenant and key) for tenant, _, key in pairs):
            raise ValueError("LAKEMILL_SCHEDULE_KEYS is not tenant=key, several separated by commas")
        return {tenant.strip(): key.strip() for tenant, _, key in pairs}


class FaultSettings(_Settings):
    """For the fault tests only: a folder of armed crash points (see ``resources/faults.py``)."""

    faults_dir: Path | None = None


@cache
def lake_settings() -> LakeSettings:
    """Return this process's lake settings."""
    return LakeSettings()


@cache
def kafka_settings() -> KafkaSettings:
    """Return this process's Kafka settings. Raises pydantic's ValidationError naming each wrong variable."""
    return KafkaSettings()


@cache
def control_settings() -> ControlSettings:
    """Return the control plane's settings. Raises pydantic's ValidationError naming each missing variable."""
    return ControlSettings()  # pyright: ignore[reportCallIssue]


@cache
def compute_settings() -> ComputeSettings:
    """Return the compute plane's settings. Raises pydantic's ValidationError naming each missing variable."""
    return ComputeSettings()  # pyright: ignore[reportCallIssue]
