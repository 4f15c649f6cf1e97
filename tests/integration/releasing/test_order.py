"""The order of release is written twice, in SQL for the worker and in words for the model: both choose the same."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
import uuid_utils.compat
from sqlalchemy import insert

from contracts.backfills import BackfillState
from contracts.states import State
from contracts.tenancy import TenantLimits
from control.backfills.tables import backfills
from control.releasing.order import next_to_release
from resources.database import Database
from tests.integration.worker_rows import add_process, add_tenant
from tests.model.fair_order import fill

pytestmark = pytest.mark.anyio

BEGAN = datetime(2024, 10, 5, 12, tzinfo=UTC)
TENANTS = ("acme", "bolt", "corp")


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a process may belong to."""

    id: UUID
    tenant: str
    state: BackfillState


@pytest.mark.parametrize("seed", range(12))
async def test_sql_and_words_choose_the_same(db: Database, seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - to vary, not to hide
    limits = {tenant: any_limits(chance) for tenant in TENANTS}
    for tenant, own in limits.items():
        await add_tenant(db, tenant, **own.model_dump(exclude_defaults=True))
    found = [await add_row(db, chance, await add_backfill(db, chance)) for _ in range(chance.randint(0, 20))]
    waiting = [row for row in found if row["backfill"] is not BackfillState.PAUSED]
    columns: dict[str, Any] = {"state": State.QUEUED.value, "released_at": BEGAN}
    flying = [await add_row(db, chance, None, **columns) for _ in range(chance.randint(0, 6))]
    for room in (1, 3, 20):
        async with db.transaction() as conn:
            chosen = [row["id"] for row in (await conn.execute(next_to_release(room))).mappings()]
        assert chosen == fill(room, waiting, flying, limits)


def any_limits(chance: Random) -> TenantLimits:
    return TenantLimits(
        weight=chance.choice([1, 1, 2, 5]),
        in_flight=chance.choice([None, 1, 3]),
        in_flight_cores=chance.choice([None, 2, 8]),
    )


async def add_backfill(db: Database, chance: Random) -> Backfill | None:
    """Make a backfill in some state, or none."""
    state = chance.choice([None, None, *BackfillState])
    if state is None:
        return None
    backfill_id, tenant = UUID(str(uuid_utils.compat.uuid7())), chance.choice(TENANTS)
    row = {"id": backfill_id, "tenant_id": tenant, "state": state.value}
    async with db.transaction() as conn:
        await conn.execute(insert(backfills).values(**row, request={}, request_hash="0" * 64, entities=1))
    return Backfill(backfill_id, tenant, state)


async def add_row(db: Database, chance: Random, backfill: Backfill | None, **columns: Any) -> dict[str, Any]:
    """Insert one process; several share their priority and their moment, so that ties are broken too."""
    row: dict[str, Any] = {
        "tenant_id": backfill.tenant if backfill else chance.choice(TENANTS),
        "priority": chance.choice([-1, 0, 0, 5]),
        "created_at": BEGAN + timedelta(seconds=chance.randint(0, 4)),
        "cores": chance.choice([1, 1, 4]),
    }
    process_id: UUID = await add_process(db, **row, backfill_id=backfill and backfill.id, **columns)
    return {**row, "id": process_id, "backfill": backfill and backfill.state}
