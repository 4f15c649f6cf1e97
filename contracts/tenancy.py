"""Tenants: which entities may be theirs, how much they may ask for, and what their keys may do."""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.identity import SafeName
from contracts.messages import Memory, Profile, ResourceProfile
from contracts.model import Frozen

DEFAULT_TENANT = "default"
"""The tenant that the migrations create."""
EVERYBODY = "*"
"""Shares an entity with all tenants: reference data."""

EntityPattern = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9._*?-]{1,128}$")]
"""Entity ids with wildcards: ``*`` is any characters, ``?`` one."""


class Scope(StrEnum):
    """What a key may do. They do not include one another."""

    SUBMIT = "submit"
    READ = "read"


class ProfileBounds(Frozen):
    """The most that one process may be granted; None is no bound."""

    driver_cores: int | None = Field(None, ge=1)
    driver_memory: Memory | None = None
    executor_instances: int | None = Field(None, ge=0)
    executor_cores: int | None = Field(None, ge=1)
    executor_memory: Memory | None = None

    def broken_by(self, profile: ResourceProfile) -> list[tuple[str, str]]:
        """Return (field, rule) for everything in which ``profile`` is larger."""
        most = {name: value for name, value in self.model_dump().items() if value is not None}
        largest = ResourceProfile.model_construct(**most)
        return [
            (name, f"must be at most {value}: your tenant's bound")
            for name, value in most.items()
            if _figure(profile, name) > _figure(largest, name)
        ]


class TenantLimits(Frozen):
    """How much a tenant may ask for; None is no limit."""

    requests_per_second: float | None = Field(None, gt=0, le=100_000)
    """To each API process."""
    backlog: int | None = Field(None, ge=1)
    """Processes that wait for their release."""
    in_flight: int | None = Field(None, ge=1)
    """Processes released and not yet terminal."""
    in_flight_cores: int | None = Field(None, ge=1)
    """Their cores, of drivers and executors together."""
    weight: int = Field(1, ge=1, le=1000)
    """Its share of the places, against the other tenants' weights."""
    profile: ProfileBounds = ProfileBounds()


class Tenant(Frozen):
    """One tenant."""

    id: SafeName
    entity_pattern: EntityPattern = "*"
    """Entities that it may claim, by asking for something at them first."""
    limits: TenantLimits = TenantLimits()

    def may_claim(self, entity_id: str) -> bool:
        """Whether an entity that nobody has may become its own."""
        return fnmatchcase(entity_id, self.entity_pattern)


def cores_of(profile: Profile) -> int:
    """Return the cores of driver and executors together."""
    return profile.driver_cores + profile.executor_instances * profile.executor_cores


def _figure(profile: ResourceProfile, name: str) -> int:
    """Return a profile's figure, memory in MiB."""
    return int(getattr(profile, f"{name}_mb" if name.endswith("memory") else name))
