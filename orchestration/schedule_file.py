"""The deployment's schedules: one TOML file, ``deploy/schedules.toml``, with a table for each (docs/backfills.md).

SchedulesError   the file is missing or malformed: the code location does not load, and its error says what to mend
"""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dagster._utils.schedules import is_valid_cron_string
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import to_jsonable_python

from contracts.backfills import BackfillRequest, Selector
from contracts.identity import SafeName, safe_id
from contracts.messages import DEFAULT_DEADLINE_SECONDS, ResourceProfile
from contracts.model import Strict
from contracts.problems import LakemillError
from contracts.tenancy import DEFAULT_TENANT

# A deployment lays its own file over this one.
SCHEDULES_FILE = Path(__file__).parent.parent / "deploy" / "schedules.toml"
_WORDS = {"extra_forbidden": "there is no such field", "missing": "is required"}
_LEAP_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


class SchedulesError(LakemillError):
    """The schedules file is missing or malformed."""


class Schedule(Strict):
    """One table of the file: when, and the backfill that is asked for then."""

    name: SafeName
    """The table's name, and the Dagster schedule's."""
    cron: str
    """Five fields, read in ``timezone``."""
    timezone: str = "UTC"
    running: bool = True
    """Whether it runs until an operator says otherwise in Dagster's UI."""
    tenant: str = DEFAULT_TENANT
    """Whose API key asks."""
    action: SafeName
    data_version: str
    """A pattern for ``strftime`` over the scheduled time in ``timezone``: ``v%Y.%m.%d``."""
    select: Selector
    params: dict[str, Any] = Field(default_factory=dict)
    resource_profile: SafeName | ResourceProfile | None = None
    callback_url: str | None = None
    priority: int = -1
    deadline_seconds: int = DEFAULT_DEADLINE_SECONDS

    @field_validator("cron")
    @classmethod
    def _a_cron_expression(cls, value: str) -> str:
        if not is_valid_cron_string(value):
            raise ValueError(f"{value!r} is no cron expression of five fields: minute hour day month weekday")
        return value

    @field_validator("timezone")
    @classmethod
    def _a_known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone of the IANA database, as 'Europe/Berlin' is") from None
        return value

    @field_validator("data_version")
    @classmethod
    def _valid_all_year(cls, pattern: str) -> str:
        # Every day of a leap year, each at another time: what is valid on some days only is found here.
        for day in range(366):
            moment = _LEAP_YEAR + timedelta(days=day, hours=day % 24, minutes=day % 60)
            try:
                safe_id(moment.strftime(pattern))
            except ValueError as error:
                raise ValueError(f"{pattern!r} gives {moment.strftime(pattern)!r} at {moment}: {error}") from None
        return pattern

    @field_validator("params", mode="before")
    @classmethod
    def _as_json(cls, value: object) -> object:
        return to_jsonable_python(value)  # TOML has dates, JSON has not

    @model_validator(mode="after")
    def _is_a_request(self) -> Self:
        try:
            self.request_at(_LEAP_YEAR)
        except ValidationError as error:
            raise ValueError("; ".join(_rules(error))) from None
        return self

    def request_at(self, moment: datetime) -> BackfillRequest:
        """Return what is asked for at the scheduled time ``moment``: always the same request under the same key.

        Raises pydantic's ValidationError, which loading the file has made impossible.
        """
        own = {"name", "cron", "timezone", "running", "tenant", "data_version"}
        return BackfillRequest(
            data_version=moment.astimezone(ZoneInfo(self.timezone)).strftime(self.data_version),
            idempotency_key=f"schedule:{self.name}:{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            **{name: getattr(self, name) for name in type(self).model_fields.keys() - own},
        )


def load_schedules(actions: Collection[str], path: Path = SCHEDULES_FILE) -> list[Schedule]:
    """Return the file's schedules, in its order. Raises SchedulesError naming file, schedule, field and rule."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SchedulesError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchedulesError(f"{path}: {error}") from error
    found, broken = [], []
    for name, table in tables.items():
        try:
            found.append(_schedule(name, table, actions))
        except ValidationError as error:
            broken += [f"schedule {name}: {rule}" for rule in _rules(error)]
        except SchedulesError as error:
            broken.append(f"schedule {name}: {error}")
    if broken:
        raise SchedulesError(f"{path}: {'; '.join(broken)}")
    return found


def _schedule(name: str, table: object, actions: Collection[str]) -> Schedule:
    if not isinstance(table, Mapping):
        raise SchedulesError("must be a table: begin it with [name]")
    if "name" in table:
        raise SchedulesError("name: is the table's own, and no field of it")
    schedule = Schedule.model_validate({**table, "name": name})
    if schedule.action not in actions:
        raise SchedulesError(f"action: {schedule.action!r} is none of {', '.join(sorted(actions))}")
    return schedule


def _rules(error: ValidationError) -> Iterator[str]:
    """Yield ``field: rule`` for each broken rule."""
    for found in error.errors():
        field = ".".join(map(str, found["loc"]))
        rule = _WORDS.get(found["type"]) or str(found["msg"]).removeprefix("Value error, ")
        yield f"{field}: {rule}" if field else rule
