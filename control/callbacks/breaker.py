"""Hosts that do not answer are left alone for a while, so that their callbacks take nobody else's places.

What waits for such a host loses none of its tries: it is not begun, and given up when the time of its tries is over. In
the memory of one worker.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from resources.callbacks.sender import Outcome, SendError

FAILURES = 5
"""In a row, until a host is left alone."""
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 30.0, 600.0
_KEPT = 10_000
_OF_THE_HOST = {SendError.CONNECT, SendError.TIMEOUT, SendError.TLS, SendError.DNS, SendError.PROTOCOL}


@dataclass(slots=True)
class _Host:
    failures: int = 0
    rest: float = 0.0
    rests_until: float = 0.0


class Breakers:
    """One for each host that has failed lately. An answer, whatever its status, shows that a host lives."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    def note(self, host: str, outcome: Outcome) -> bool:
        """Take in what became of one try; returns whether a rest of its host begins with it.

        After its rest a host has one try to show that something has changed.
        """
        if outcome.status is not None:
            self._hosts.pop(host, None)
        if outcome.error not in _OF_THE_HOST:
            return False  # a secret that cannot sign, or an address that is forbidden, says nothing about the host
        found = self._hosts.setdefault(host, _Host())
        found.failures += 1
        begins = found.failures >= FAILURES and self._clock() >= found.rests_until
        if begins:
            found.rest = min(2 * found.rest or FIRST_REST_SECONDS, LONGEST_REST_SECONDS)
            found.rests_until = self._clock() + found.rest
        if len(self._hosts) > _KEPT:
            del self._hosts[next(iter(self._hosts))]
        return begins

    def most(self, host: str, usual: int) -> int:
        """Return how many tries of a host may be under way: none while it rests, and one until it answers again."""
        found = self._hosts.get(host)
        if found is None or not found.rest:
            return usual
        return 0 if found.rests_until > self._clock() else 1
