"""Whose an entity is, by what is published there: the tenant of its newest commit."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert

from contracts.callbacks import Artifact
from control.recovery.findings import Findings
from control.tables import entities, tenants
from resources.database import Database

_CHUNK = 1000


class Claims:
    """For each entity the tenant that published there last. An operator's run claims nothing."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[datetime, str]] = {}

    def note(self, entity_id: str, tenant_id: str | None, artifact: Artifact) -> None:
        """Take in one commit or tombstone."""
        if tenant_id is not None:
            claim = (artifact.committed_at, tenant_id)
            self._newest[entity_id] = max(claim, self._newest.get(entity_id, claim))

    def owners(self) -> dict[str, str]:
        """Return entity → tenant, in the order of entities."""
        return {entity_id: tenant for entity_id, (_, tenant) in sorted(self._newest.items())}


async def restore_owners(db: Database, owners: Mapping[str, str], findings: Findings) -> None:
    """Give each entity that has no owner the one in ``owners``. An owner that is there stays: it may have been given.

    A tenant that the database does not know cannot own anything: it is noted, and not invented.
    """
    wanted = list(owners)
    for first in range(0, len(wanted), _CHUNK):
        await _restore(db, {entity_id: owners[entity_id] for entity_id in wanted[first : first + _CHUNK]}, findings)


async def _restore(db: Database, owners: Mapping[str, str], findings: Findings) -> None:
    async with db.transaction() as conn:
        known = set((await conn.execute(select(tenants.c.id).where(tenants.c.id.in_(owners.values())))).scalars())
        rows = [
            {"entity_id": entity_id, "tenant_id": tenant} for entity_id, tenant in owners.items() if tenant in known
        ]
        if rows:
            made = await conn.execute(upsert(entities).values(rows).on_conflict_do_nothing())
            findings.owners += made.rowcount
        query = select(entities.c.entity_id, entities.c.tenant_id).where(entities.c.entity_id.in_(owners))
        found = {row.entity_id: row.tenant_id for row in await conn.execute(query)}
    for entity_id, tenant in owners.items():
        owner = found.get(entity_id)
        if owner is None:
            findings.unknown_tenants.setdefault(tenant, []).append(entity_id)
        elif owner != tenant:
            findings.other_owners.append(f"{entity_id} is {owner}'s; {tenant} published there last")
