"""The message contract: what a producer submits, and the record that carries it over Kafka.

``ProcessRequest`` is the body of ``POST /v1/processes``. ``ReleaseRecord`` is what the worker writes to the relay's
topic: the same fields plus who asked and which attempt this is. The record is only a hint: intake compares its hash
with the stored request, and the database row is the truth.
"""

import hashlib
import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AliasChoices, Field, StringConstraints, field_validator, model_validator

from contracts.identity import Digest, SafeId, SafeName
from contracts.model import Strict
from contracts.sources import Source
from contracts.strict_json import canonical

CONTRACT_VERSION: Literal[1] = 1
MAX_BODY_BYTES = 64 * 1024
MAX_BATCH = 1000
MAX_BATCH_BYTES = 4 * 1024 * 1024
DEFAULT_DEADLINE_SECONDS = 604_800

IdempotencyKey = Annotated[str, StringConstraints(strict=True, pattern=r"^[\x21-\x7e]{1,255}$")]

Memory = Annotated[str, StringConstraints(strict=True, pattern=r"^[1-9][0-9]{0,5}[mg]$")]
"""A JVM heap size: ``512m``, ``16g``."""


def _megabytes(memory: str) -> int:
    return int(memory[:-1]) * (1024 if memory.endswith("g") else 1)


def _one_line(value: str) -> str:
    # URL parsers drop these silently, so two readers could see two addresses.
    if re.search(r"[^\x21-\x7e]|\\", value):
        raise ValueError("must be visible ASCII without spaces or backslashes")
    return value


CallbackUrl = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_one_line)]


class ResourceProfile(Strict):
    """What a heavy process asks of the cluster. The grant may differ; see the process's ``profile``."""

    driver_cores: int = Field(1, ge=1, le=64)
    driver_memory: Memory = "2g"
    executor_instances: int = Field(1, ge=0, le=1000)
    executor_cores: int = Field(1, ge=1, le=64)
    executor_memory: Memory = "2g"
    shuffle_partitions: int = Field(8, ge=1, le=100_000)

    @property
    def driver_memory_mb(self) -> int:
        """The driver's heap in MiB."""
        return _megabytes(self.driver_memory)

    @property
    def executor_memory_mb(self) -> int:
        """One executor's heap in MiB."""
        return _megabytes(self.executor_memory)


CpuQuantity = Annotated[str, StringConstraints(strict=True, pattern=r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2})$")]
"""An amount of CPU as Kubernetes writes it: ``250m``, ``2``."""


class Profile(ResourceProfile):
    """What is granted: a requested profile, or a named one with what only the deployment decides."""

    cpu_request: CpuQuantity | None = None
    """The CPU that each pod of the run is guaranteed, apart from Spark's cores; by default as many."""
    min_executors: int | None = Field(None, ge=1)
    """When given, Spark keeps between this many and ``executor_instances`` executors, as the work demands."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_executors is not None and self.min_executors > self.executor_instances:
            raise ValueError("min_executors must be at most executor_instances")
        return self


class InputRef(Strict):
    """Where one input lies when it is not at the request's own entity and version."""

    entity_id: SafeId
    data_version: SafeId


class ProcessRequest(Strict):
    """Ask for one action at one coordinate. Unknown fields are refused, nothing is coerced."""

    entity_id: SafeId = Field(description="The customer, site or account.")
    data_version: SafeId = Field(description="The version of the data.")
    action: SafeName = Field(validation_alias=AliasChoices("action", "action_type"), description="A published action.")
    callback_url: CallbackUrl | None = Field(None, description="Where the signed callback goes; https, public.")
    resource_profile: SafeName | ResourceProfile | None = Field(
        None, description="A profile's name or its figures; by default the action's own."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="By the action's own schema.")
    inputs: dict[SafeName, InputRef] = Field(default_factory=dict, max_length=64)
    priority: int = Field(0, ge=-10, le=10)
    deadline_seconds: int = Field(DEFAULT_DEADLINE_SECONDS, ge=60, le=2_592_000)
    action_digest: Digest | None = None

    @field_validator("params")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> dict[str, Any]:
        text = canonical(value)
        if len(text) > MAX_BODY_BYTES:
            raise ValueError(f"must be at most {MAX_BODY_BYTES} bytes of JSON")
        if b"\\u0000" in text:
            raise ValueError("must not hold NUL characters")
        return value

    def request_hash(self) -> str:
        """Return SHA-256 (hex) over the validated request, so that key order and aliases do not matter.

        Defaults are left out: a field that a later version adds does not change the hash of what waits already.
        """
        return hashlib.sha256(canonical(self.model_dump(mode="json", exclude_defaults=True))).hexdigest()


class Registration(Strict):
    """Publish files from outside as a snapshot: they are read, held to the dataset's schema and checks, and copied."""

    entity_id: SafeId = Field(description="The customer, site or account.")
    data_version: SafeId = Field(description="The version of the data.")
    dataset: SafeName = Field(description="A dataset that an action makes of one delivery.")
    source: Source | None = Field(
        None, description="The folder that the files lie in; by default where they are delivered to."
    )
    callback_url: CallbackUrl | None = Field(None, description="Where the signed callback goes; https, public.")
    priority: int = Field(0, ge=-10, le=10)
    deadline_seconds: int = Field(DEFAULT_DEADLINE_SECONDS, ge=60, le=2_592_000)

    def request(self, action: str) -> ProcessRequest:
        """Return it as a request of the action that makes the dataset."""
        facts = self.model_dump(exclude={"dataset", "source"})
        return ProcessRequest(**facts, action=action, params={"source": self.source} if self.source else {})


class BatchItem(ProcessRequest):
    """One submission of many."""

    idempotency_key: IdempotencyKey | None = Field(None, description="As the header of a single submit.")

    def request(self) -> ProcessRequest:
        """Return it as a request of its own."""
        return ProcessRequest.model_validate(self.model_dump(include=set(ProcessRequest.model_fields)))


class Batch(Strict):
    """Many submissions; each is judged alone."""

    processes: list[BatchItem] = Field(min_length=1, max_length=MAX_BATCH)


class ReleaseRecord(ProcessRequest):
    """One attempt, on its way from the worker to the sensor over the relay's topic."""

    contract_version: Literal[1] = CONTRACT_VERSION
    process_id: UUID = Field(strict=False)
    attempt: int = Field(ge=1)
    tenant: SafeName
    request_hash_: Digest = Field(validation_alias="request_hash", serialization_alias="request_hash")

    def request(self) -> ProcessRequest:
        """Return the producer's part."""
        return ProcessRequest.model_validate(self.model_dump(include=set(ProcessRequest.model_fields)))

    def encode(self) -> bytes:
        """Return the record's value on Kafka."""
        return canonical(self.model_dump(mode="json", by_alias=True))
