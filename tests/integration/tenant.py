"""A tenant as it calls the API: with keys of its own, and what it may and may not."""

from dataclasses import dataclass
from typing import Any

import httpx

from contracts.tenancy import Scope, Tenant, TenantLimits
from control.tenancy import keys, tenants
from tests.integration.control_plane import SUBMIT, ControlPlane


@dataclass(frozen=True, slots=True)
class Caller:
    """One tenant with a key that may submit and read."""

    plane: ControlPlane
    id: str
    key: str

    @property
    def actor(self) -> str:
        """As events and the admin log name its key: never with the secret."""
        return f"tenant:{self.id}/key:{self.key[3:15]}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def submit(self, entity_id: str, query: str = "", **changes: Any) -> httpx.Response:
        return await self.plane.post(
            f"/v1/processes{query}", self.headers, {**SUBMIT, "entity_id": entity_id, **changes}
        )

    async def get(self, path: str) -> httpx.Response:
        return await self.plane.http.get(path, headers=self.headers)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.plane.post(path, self.headers, body)


async def make_tenant(plane: ControlPlane, tenant: str, pattern: str = "*", **limits: Any) -> Caller:
    """Create a tenant; return it with a key."""
    rules = Tenant(id=tenant, entity_pattern=pattern, limits=TenantLimits(**limits))
    async with plane.db.transaction() as conn:
        await tenants.create(conn, rules, "test")
        key = await keys.create(conn, tenant, [Scope.SUBMIT, Scope.READ])
    return Caller(plane, tenant, key.get_secret_value())
