"""One POST by the sender to a real socket, with names that resolve as told."""

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

from resources.callbacks.networks import Address, parse_networks
from resources.callbacks.sender import GuardedSender, Outcome
from tests.receiver import Answer, Receiver, receiver

LOOPBACK = parse_networks(("127.0.0.0/8", "::1/128"))
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the real authorities takes 40 ms
HEADERS = {"Content-Type": "application/json", "webhook-id": "one"}


class Names:
    """A resolver that knows what it is told, and counts how often it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = [ip_address(address) for address in addresses]
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[Address]:
        self.asked.append(host)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.addresses


async def post(url: str, **options: Any) -> Outcome:
    return await GuardedSender(LOOPBACK, **{"ssl_context": NO_TRUST, **options}).send(url, b'{"a":1}', HEADERS)


@asynccontextmanager
async def answered(answer: Answer, **options: Any) -> AsyncIterator[tuple[Receiver, Outcome]]:
    async with receiver(answer) as state:
        yield state, await post(state.url, **options)
