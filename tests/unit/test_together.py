"""Work done together ends together."""

import asyncio

import pytest

from control.together import together

pytestmark = pytest.mark.anyio


async def test_results_come_in_their_order() -> None:
    async def after(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    assert await together(after(turns) for turns in (3, 1, 2)) == [3, 1, 2]
    assert await together([]) == []


async def test_nothing_outlives_the_first_error() -> None:
    ended: list[str] = []

    async def endless(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what it holds is given back before the error is told
            ended.append(name)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("first")

    with pytest.raises(LookupError, match="first"):
        await together([endless("a"), fails(), endless("b")])
    assert ended == ["a", "b"]
