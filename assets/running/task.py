"""What one execution is given, and what it gives back."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from assets.declaration import Action
from assets.reading.sources import Sources
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.messages import InputRef, Profile
from contracts.reasons import Reason
from resources.control_plane import ControlPlane
from resources.lake.store import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Sessions(Protocol):
    """Where Spark comes from (resources.spark.session.SparkSessions)."""

    def open(self, profile: Profile) -> "SparkSession":
        """Return a session started for ``profile``."""

    def executors(self) -> AbstractContextManager[bool]:
        """Yield once the session can compute: whether it has executors of its own.

        Raises a LakemillError that says why they did not come, or went while the block was computing.
        """

    def interruption(self) -> Reason | None:
        """Return why this process is being ended, when the cluster that it runs in says so."""

    def lost_executors(self) -> list[str]:
        """Return why executors went before their time, in Spark's words."""

    def lost_driver(self) -> str | None:
        """Return how Spark itself has ended, None while it lives."""

    def usage(self) -> dict[str, float]:
        """Return what Spark has used so far; what it can no longer tell is left out."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything a run talks to."""

    control: ControlPlane
    lake: Lake
    sources: Sources
    sessions: Sessions
    permit_seconds: int = 120
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    landing_unpacked_bytes: int = 2**40


@dataclass(frozen=True, slots=True)
class Task:
    """What one execution computes. Without a ``process_id`` it is an operator's."""

    action: Action
    coordinate: Coordinate
    run_id: str
    profile: Profile
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, InputRef] = field(default_factory=dict)
    process_id: UUID | None = None
    attempt: int | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The snapshot that a run has published, with the times of its stages."""

    commit: Commit
    digest: str
    url: str
    stages: dict[str, datetime]
