"""Rebuilds that wait for nothing, and what comes before one: a publication, an interruption, a loss."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete

from control.recovery.findings import Findings
from control.recovery.rebuild import Rebuilder
from control.tables import entities, snapshots
from resources.lake.store import LakeUnavailableError
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.store_lake import StoreLake
from tests.integration.tenant import Caller


async def no_wait(_: float) -> None:
    return


def rebuilder(plane: ControlPlane, lake: StoreLake, **parts: Any) -> Rebuilder:
    return Rebuilder(plane.db, lake, plane.settings, "cli:operator", **{"wait": no_wait, **parts})


async def rebuild(plane: ControlPlane, lake: StoreLake) -> Findings:
    return await rebuilder(plane, lake).rebuild()


async def published(caller: Caller, entity_id: str, version: str = "v1") -> UUID:
    """Let the tenant publish there."""
    process_id = UUID((await caller.submit(entity_id, data_version=version)).json()["process_id"])
    here = place(entity_id=entity_id, data_version=version)
    caller.plane.lake.commit(here, process_id, tenant=caller.id)
    await caller.plane.report(process_id, "succeeded")
    return process_id


async def forget(plane: ControlPlane) -> None:
    """Let the database know nothing of what is published and whose it is."""
    async with plane.db.transaction() as conn:
        await conn.execute(delete(snapshots))
        await conn.execute(delete(entities))


async def interrupted(plane: ControlPlane, lake: StoreLake) -> None:
    """Begin a rebuild that gets no further than its pause."""

    async def cut_off(_: float) -> None:
        raise LakeUnavailableError("cut off")

    with pytest.raises(LakeUnavailableError):
        await rebuilder(plane, lake, wait=cut_off).rebuild()
