"""Names → addresses, asked of the machine's resolver."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Protocol

from resources.callbacks.networks import Address

CAPACITY = 256
"""Look-ups that may be under way at once."""


class Resolver(Protocol):
    """Name → addresses."""

    async def __call__(self, host: str, port: int, /) -> Sequence[Address]:
        """Return at least one address. Raises OSError when there is none."""
        ...


class SystemResolver:
    """The machine's resolver, on threads of its own: a slow name server must not hold up anything else.

    A thread in a look-up cannot be ended. So no call returns before its thread has, and whoever has at most
    ``CAPACITY`` calls under way never waits for a thread that another call has left behind.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CAPACITY, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int, /) -> Sequence[Address]:
        """Return the addresses in the system's order of preference; of an address, itself. Raises OSError."""
        written = _written_address(host)
        if written is not None:
            return [written]
        lookup = asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host, port)
        try:
            await asyncio.wait([lookup])
        except asyncio.CancelledError:
            await asyncio.gather(lookup, return_exceptions=True)
            raise
        return list(dict.fromkeys(lookup.result()))


def _written_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _getaddrinfo(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
