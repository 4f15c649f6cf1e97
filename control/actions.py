"""The catalogue: which actions are published, and the named profiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Row, Text, bindparam, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.messages import Profile
from contracts.problems import ProblemError
from contracts.reports import ActionEntry, Catalogue
from contracts.views import ActionCatalogue
from control.recovery.tables import RECOVERING
from control.tables import actions, idempotency_keys, processes, profiles
from control.tenancy.admin_log import note_admin

RETURNS_WITHIN = timedelta(minutes=10)
_CATALOGUE_LOCK = 0x6C616B65_00000003


async def publish(conn: AsyncConnection, new: Catalogue, actor: str) -> None:
    """Make the catalogue what a code location says it is; what is not listed is withdrawn. A change is logged.

    Raises ProblemError (validation_failed) when two actions share a name or a dataset, or a profile is not defined.
    """
    _check(new)
    await conn.execute(select(func.pg_advisory_xact_lock(_CATALOGUE_LOCK)))  # two at once would lock rows crosswise
    changes = _changes(await catalogue(conn), new)
    names = [entry.name for entry in new.actions]
    gone = update(actions).where(actions.c.name.not_in(names), actions.c.is_published == 1)
    await conn.execute(gone.values(is_published=0, published_at=func.now()))
    for entry in sorted(new.actions, key=lambda entry: entry.name):
        await _put(conn, entry)
    await conn.execute(delete(profiles).where(profiles.c.name.not_in(list(new.profiles))))
    for name, profile in sorted(new.profiles.items()):
        row = upsert(profiles).values(name=name, profile=profile.model_dump())
        await conn.execute(row.on_conflict_do_update(index_elements=["name"], set_={"profile": row.excluded.profile}))
    if any(changes.values()):  # every start of a code location publishes
        await note_admin(conn, actor, "catalogue_published", None, changes)


def _changes(old: ActionCatalogue, new: Catalogue) -> dict[str, Any]:
    """Return the digests of new and changed actions, and the names of what else is another."""
    names = {entry.name for entry in new.actions}
    return {
        "actions": {entry.name: entry.digest for entry in new.actions if entry not in old.actions},
        "withdrawn": sorted(entry.name for entry in old.actions if entry.name not in names),
        "profiles": sorted(
            name for name in {*old.profiles, *new.profiles} if old.profiles.get(name) != new.profiles.get(name)
        ),
    }


async def catalogue(conn: AsyncConnection) -> ActionCatalogue:
    """Return every published action, by name, and every profile."""
    entries = await conn.execute(select(actions.c.entry).where(actions.c.is_published == 1).order_by(actions.c.name))
    named = await conn.execute(select(profiles.c.name, profiles.c.profile).order_by(profiles.c.name))
    return ActionCatalogue(
        actions=[ActionEntry.model_validate(entry) for entry in entries.scalars()],
        profiles={name: Profile.model_validate(figures) for name, figures in named},
    )


async def published(conn: AsyncConnection, name: str) -> ActionEntry | None:
    """Return the published action called ``name``."""
    query = select(actions.c.entry).where(actions.c.name == name, actions.c.is_published == 1)
    entry = await conn.scalar(query)
    return None if entry is None else ActionEntry.model_validate(entry)


async def may_return(conn: AsyncConnection, name: str) -> bool:
    """Return whether an action was withdrawn so lately that whoever replaces a code location may publish it again."""
    gone = (actions.c.name == name, actions.c.is_published == 0, actions.c.published_at > func.now() - RETURNS_WITHIN)
    return await conn.scalar(select(actions.c.name).where(*gone)) is not None


async def registering(conn: AsyncConnection, tenant_id: str, dataset: str, key: str | None) -> str:
    """Return the published action that makes ``dataset`` of one delivery. Raises ProblemError (unknown_action).

    What ``key`` was accepted for is answered again with its own action, whatever became of that since.
    """
    first = select(processes.c.action).join(idempotency_keys, idempotency_keys.c.process_id == processes.c.id)
    is_mine = (idempotency_keys.c.tenant_id == tenant_id, idempotency_keys.c.key == key, processes.c.dataset == dataset)
    repeated: str | None = None if key is None else await conn.scalar(first.where(*is_mine))
    if repeated is not None:
        return repeated
    query = select(actions.c.name).where(
        actions.c.dataset == dataset, actions.c.is_published == 1, actions.c.entry["registers"].as_boolean()
    )
    name: str | None = await conn.scalar(query)
    if name is None:
        raise ProblemError("unknown_action", f"no published action makes {dataset!r} of files from outside")
    return name


@dataclass(frozen=True, slots=True)
class Offer:
    """A published action with the profile that was asked for (None: no such profile), at the database's time."""

    action: ActionEntry
    profile: Profile | None
    at: datetime
    is_recovering: bool
    """Nothing may be accepted now: the control plane is being rebuilt."""
    named: Mapping[str, Any]
    """The figures of every named profile."""

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Read a row of ``OFFER``."""
        figures = None if row.profile is None else Profile.model_validate(row.profile)
        return cls(ActionEntry.model_validate(row.entry), figures, row.at, row.is_recovering, row.named or {})


_NAMED = select(func.jsonb_object_agg(profiles.c.name, profiles.c.profile)).scalar_subquery()
_asked = profiles.alias("asked")
OFFER = (
    select(
        *(actions.c.entry, _asked.c.profile, func.now().label("at"), RECOVERING.label("is_recovering")),
        _NAMED.label("named"),
    )
    .outerjoin(
        _asked, _asked.c.name == func.coalesce(cast(bindparam("profile"), Text), actions.c.entry["profile"].astext)
    )
    .where(actions.c.name == bindparam("action"), actions.c.is_published == 1)
)
"""The published ``action`` with the ``profile`` that is asked for, or else (None) its own; no row: no such action."""


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
