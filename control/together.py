"""Doing several things at once, none of which outlives the others' failure."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

_Result = TypeVar("_Result")


async def together(works: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """Return what each of ``works`` returns, in their order; raises the first error, once the rest have been ended.

    ``asyncio.gather`` alone lets them go on, with nobody to hear of them.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
