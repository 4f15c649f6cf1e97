"""A backfill: one action at one data version for many entities, as ordinary processes."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from contracts.identity import SafeId, SafeName
from contracts.messages import DEFAULT_DEADLINE_SECONDS, CallbackUrl, IdempotencyKey, ProcessRequest, ResourceProfile
from contracts.model import Frozen, Strict
from contracts.reading import sentences
from contracts.strict_json import canonical
from contracts.tenancy import EntityPattern

MAX_ENTITIES = 100_000
MAX_BACKFILL_BYTES = 8 * 1024 * 1024


class BackfillState(StrEnum):
    """Where a backfill stands. Its processes have states of their own."""

    EXPANDING = "expanding"
    """Processes are made of it, a window at a time."""
    PAUSED = "paused"
    EXPANDED = "expanded"
    """All of them are made."""
    CANCELLING = "cancelling"
    """No more are made, and those that have not ended are being ended."""
    CANCELLED = "cancelled"


class Selector(Strict):
    """Which entities: exactly one of the three."""

    entities: list[SafeId] | None = Field(None, min_length=1, max_length=MAX_ENTITIES)
    """These."""
    pattern: EntityPattern | None = None
    """Those of the tenant that match; ``*`` is any characters, ``?`` one."""
    with_inputs: bool | None = None
    """Those of the tenant at which every input of the action is published at this data version."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = [self.entities is not None, self.pattern is not None, self.with_inputs is not None]
        if sum(given) != 1 or self.with_inputs is False:
            raise ValueError("give exactly one: entities, a pattern, or with_inputs: true")
        return self


class BackfillRequest(Strict):
    """Ask for an action at many entities. Versions that are published already are skipped."""

    action: SafeName
    data_version: SafeId
    select: Selector
    idempotency_key: IdempotencyKey | None = None
    """The same key with the same request is the same backfill: repeat it safely."""
    params: dict[str, Any] = Field(default_factory=dict)
    resource_profile: SafeName | ResourceProfile | None = None
    callback_url: CallbackUrl | None = None
    priority: int = Field(-1, ge=-10, le=10)
    """Behind what is asked for singly, unless it says otherwise."""
    deadline_seconds: int = Field(DEFAULT_DEADLINE_SECONDS, ge=60, le=2_592_000)

    def process_at(self, entity_id: str) -> ProcessRequest:
        """Return the request for one entity. Raises pydantic's ValidationError."""
        shared = self.model_dump(exclude={"select", "idempotency_key"})
        return ProcessRequest.model_validate({"entity_id": entity_id, **shared})

    @model_validator(mode="after")
    def _fits_a_process(self) -> Self:
        # What would be refused for every entity is refused here, once.
        try:
            self.process_at("any")
        except ValidationError as error:
            raise ValueError("; ".join(sentences(error))) from None
        return self

    def request_hash(self) -> str:
        """Return SHA-256 (hex) over the request; defaults are left out, as ``ProcessRequest`` does it."""
        asked = self.model_dump(mode="json", exclude={"idempotency_key"}, exclude_defaults=True)
        return hashlib.sha256(canonical(asked)).hexdigest()


class BackfillPreview(Frozen):
    """What a backfill would do now."""

    entities: int
    published: int
    """How many of them would be skipped."""
    sample: list[str]
    """The first entities."""


class BackfillView(Frozen):
    """How a backfill stands."""

    backfill_id: UUID
    action: str
    data_version: str
    state: BackfillState
    entities: int
    """How many it is about."""
    looked_at: int
    """How many of them have become processes, or were skipped or refused."""
    skipped: int
    """Published already, or being computed by another process."""
    refused: int
    last_refusal: str | None
    """Why the last one was refused; while the action is not published, that the backfill waits for it."""
    processes: dict[str, int]
    """State → how many of its processes are in it."""
    created_at: datetime
    updated_at: datetime


class BackfillPage(Frozen):
    """One page, newest first."""

    backfills: list[BackfillView]
    next_cursor: str | None
