"""One submit: what is asked for, by whom, and as whose repetition."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from contracts.messages import ProcessRequest
from contracts.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class Submission:
    """One submit. ``retry_of`` is the ended process that it repeats, ``backfill_id`` the backfill that it is of."""

    tenant: Tenant
    request: ProcessRequest
    actor: str
    """Who submits, for the timeline and the admin log."""
    key: str | None = None
    """The Idempotency-Key."""
    retry_of: UUID | None = None
    backfill_id: UUID | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    """Where the request came from, for the timeline."""

    def key_hash(self) -> str:
        """Return what the Idempotency-Key stands for: the request, and the process that it repeats."""
        request_hash = self.request.request_hash()
        if self.retry_of is None:
            return request_hash
        return hashlib.sha256(f"{request_hash} retry_of {self.retry_of}".encode()).hexdigest()
