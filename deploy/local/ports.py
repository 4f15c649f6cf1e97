"""The ports of one stack: a block of sixteen, known before anything starts."""

import random
import socket
from dataclasses import dataclass
from typing import Final

from deploy.local.errors import PortTakenError

HOST: Final = "127.0.0.1"
BLOCK: Final = 16
_LOWEST, _HIGHEST = 20_000, 32_000  # below the range that systems hand out to clients


@dataclass(frozen=True, slots=True)
class PortBlock:
    """Where each server listens: ``base`` and the fifteen ports behind it, at one address of this machine."""

    base: int
    host: str = HOST

    OFFSETS = {  # noqa: RUF012 -- a constant table, not a default
        "api": 0,
        "webserver": 1,
        "postgres": 2,
        "kafka": 3,
        "kafka-controller": 4,
        "s3": 5,
        "s3-master": 6,
        "s3-volume": 7,
        "s3-filer": 8,
        "s3-master-grpc": 9,
        "s3-volume-grpc": 10,
        "s3-filer-grpc": 11,
        "code-location": 12,
        "s3-grpc": 13,
        "s3-admin": 14,
        "s3-admin-grpc": 15,
    }

    def of(self, name: str) -> int:
        """Return the port of ``name``."""
        return self.base + self.OFFSETS[name]

    def address(self, name: str) -> str:
        """Return ``host:port`` of ``name``."""
        return f"{self.host}:{self.of(name)}"

    def taken(self, server: str | None = None) -> list[str]:
        """Return the names whose port is in use; with ``server``, only of that server's own ports."""
        mine = (name for name in self.OFFSETS if server is None or name == server or name.startswith(f"{server}-"))
        return [name for name in mine if not is_free(self.of(name), self.host)]

    def check_free(self, server: str | None = None) -> None:
        """Raise PortTakenError that names each server and port in use, and the option that changes them."""
        taken = self.taken(server)
        if taken:
            named = ", ".join(f"{name} (port {self.of(name)})" for name in taken)
            raise PortTakenError(
                f"Already in use by another program: {named}. Stop that program, or choose other ports with "
                f"'lakemill up --base-port N' (the stack uses N to N+{BLOCK - 1}; now N is {self.base})."
            )


def is_free(port: int, host: str = HOST) -> bool:
    """Return whether a server could listen on ``port`` of this machine's address ``host`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def find_base_port() -> int:
    """Return a base port whose whole block is free now. Raises PortTakenError when a hundred tries find none."""
    for _ in range(100):
        base = random.randrange(_LOWEST, _HIGHEST, BLOCK)  # noqa: S311 -- a port is no secret
        if not PortBlock(base).taken():
            return base
    raise PortTakenError(f"No {BLOCK} free ports in a row were found between {_LOWEST} and {_HIGHEST}.")
