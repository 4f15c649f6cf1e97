"""The catalogue: which actions are published, and the named profiles."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.messages import Profile
from contracts.problems import ProblemError
from contracts.reports import ActionEntry, Catalogue
from control.tables import actions, profiles

_CATALOGUE_LOCK = 0x6C616B65_00000003


async def publish(conn: AsyncConnection, catalogue: Catalogue) -> None:
    """Make the catalogue what a code location says it is; what is not listed is withdrawn.

    Raises ProblemError (validation_failed) when two actions share a name or a dataset, or a profile is not defined.
    """
    _check(catalogue)
    await conn.execute(select(func.pg_advisory_xact_lock(_CATALOGUE_LOCK)))  # two at once would lock rows crosswise
    names = [entry.name for entry in catalogue.actions]
    await conn.execute(update(actions).where(actions.c.name.not_in(names)).values(is_published=0))
    for entry in sorted(catalogue.actions, key=lambda entry: entry.name):
        await _put(conn, entry)
    await conn.execute(delete(profiles).where(profiles.c.name.not_in(list(catalogue.profiles))))
    for name, profile in sorted(catalogue.profiles.items()):
        row = upsert(profiles).values(name=name, profile=profile.model_dump())
        await conn.execute(row.on_conflict_do_update(index_elements=["name"], set_={"profile": row.excluded.profile}))


async def published(conn: AsyncConnection, name: str) -> ActionEntry | None:
    """Return the published action called ``name``."""
    query = select(actions.c.entry).where(actions.c.name == name, actions.c.is_published == 1)
    entry = await conn.scalar(query)
    return None if entry is None else ActionEntry.model_validate(entry)


@dataclass(frozen=True, slots=True)
class Offer:
    """A published action with the profile that was asked for (None: no such profile), at the database's time."""

    action: ActionEntry
    profile: Profile | None
    at: datetime


async def offer(conn: AsyncConnection, name: str, profile: str | None) -> Offer | None:
    """Return the published action called ``name`` with ``profile``, or else its own; None when there is no action."""
    wanted = func.coalesce(cast(profile, Text), actions.c.entry["profile"].astext)
    query = (
        select(actions.c.entry, profiles.c.profile, func.now().label("at"))
        .outerjoin(profiles, profiles.c.name == wanted)
        .where(actions.c.name == name, actions.c.is_published == 1)
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        return None
    figures = None if row.profile is None else Profile.model_validate(row.profile)
    return Offer(ActionEntry.model_validate(row.entry), figures, row.at)


async def _put(conn: AsyncConnection, entry: ActionEntry) -> None:
    values: dict[str, Any] = {
        "dataset": entry.dataset,
        "digest": entry.digest,
        "entry": entry.model_dump(mode="json"),
        "is_published": 1,
        "published_at": func.now(),
    }
    row = upsert(actions).values(name=entry.name, **values)
    await conn.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))


def _check(catalogue: Catalogue) -> None:
    names = [entry.name for entry in catalogue.actions]
    datasets = [entry.dataset for entry in catalogue.actions]
    broken = [
        *(("actions", f"{name!r} stands twice") for name in sorted(_repeated(names))),
        *(("actions", f"two actions write {dataset!r}") for dataset in sorted(_repeated(datasets))),
        *(
            (f"actions.{entry.name}.profile", f"{entry.profile!r} is not among the profiles")
            for entry in catalogue.actions
            if entry.profile not in catalogue.profiles
        ),
    ]
    if broken:
        errors = [{"field": field, "rule": rule} for field, rule in broken]
        raise ProblemError("validation_failed", "the catalogue contradicts itself", errors=errors)


def _repeated(values: list[str]) -> set[str]:
    return {value for value in values if values.count(value) > 1}
