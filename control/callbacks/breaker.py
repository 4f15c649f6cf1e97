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

    def resting(self) -> list[str]:
        """Return the hosts that are left alone now."""
        now = self._clock()
        return [host for host, found in self._hosts.items() if found.rests_until > now]

    def waking(self) -> list[str]:
        """Return the hosts whose rest is over and that have not answered since: each is owed a single try."""
        now = self._clock()
        return [host for host, found in self._hosts.items() if found.rest and found.rests_until <= now]
