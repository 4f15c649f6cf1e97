"""The order of release is written twice, in SQL for the worker and in words for the model: both choose the same."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from contracts.states import State
from contracts.tenancy import TenantLimits
from control.releasing.release import next_to_release
from resources.database import Database
from tests.integration.worker_rows import add_process, add_tenant
from tests.model.fair_order import fill

pytestmark = pytest.mark.anyio

BEGAN = datetime(2024, 10, 5, 12, tzinfo=UTC)
TENANTS = ("acme", "bolt", "corp")


@pytest.mark.parametrize("seed", range(12))
async def test_sql_and_words_choose_the_same(db: Database, seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - to vary, not to hide
    limits = {tenant: any_limits(chance) for tenant in TENANTS}
    for tenant, found in limits.items():
        await add_tenant(db, tenant, **found.model_dump(exclude_defaults=True))
    waiting = [await add_row(db, chance) for _ in range(chance.randint(0, 14))]
    flying = [
        await add_row(db, chance, state=State.QUEUED.value, released_at=BEGAN) for _ in range(chance.randint(0, 6))
    ]
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


async def add_row(db: Database, chance: Random, **columns: Any) -> dict[str, Any]:
    """Insert one process; several share their priority and their moment, so that ties are broken too."""
    row: dict[str, Any] = {
        "tenant_id": chance.choice(TENANTS),
        "priority": chance.choice([-1, 0, 0, 5]),
        "created_at": BEGAN + timedelta(seconds=chance.randint(0, 4)),
        "cores": chance.choice([1, 1, 4]),
    }
    process_id: UUID = await add_process(db, **row, **columns)
    return {**row, "id": process_id}
