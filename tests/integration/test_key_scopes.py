"""What a key may do is its scopes, and nothing beside them."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from control.tenancy import keys
from control.tenancy.tables import api_keys
from tests.integration.tenant import Caller

pytestmark = pytest.mark.anyio


async def test_a_key_of_the_time_when_there_was_another_scope_works_on_and_passes_none_on(acme: Caller) -> None:
    prefix = acme.key[3:15]
    async with acme.plane.db.transaction() as conn:
        await conn.execute(update(api_keys).where(api_keys.c.prefix == prefix).values(scopes=["admin", "read"]))
    assert (await acme.get("/v1/processes")).status_code == 200
    assert (await acme.submit("e-1")).status_code == 403
    async with acme.plane.db.transaction() as conn:
        new = await keys.rotate(conn, prefix, timedelta(hours=1))
        listed = {row["prefix"]: row["scopes"] for row in await keys.listing(conn)}
    assert listed[new.get_secret_value()[3:15]] == ["read"]
