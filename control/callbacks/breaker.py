"""Hosts that do not answer are left alone for a while, so that their callbacks take nobody else's places.

What waits for such a host loses none of its tries: it is not begun, and given up when the time of its tries is over.
Each tenant's own experience counts: at a host that many share, one's address may hang while all others answer. In the
memory of one worker.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from control.callbacks.places import Receiver
from resources.callbacks.sender import Outcome, SendError

FAILURES = 5
"""In a row, until a host is left alone."""
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 30.0, 600.0
_KEPT = 10_000
_OF_THE_HOST = {SendError.CONNECT, SendError.TIMEOUT, SendError.TLS, SendError.DNS, SendError.PROTOCOL}


@dataclass(slots=True)
class _Lately:
    failures: int = 0
    rest: float = 0.0
    rests_until: float = 0.0


class Breakers:
    """One for each receiver that has failed lately. An answer, whatever its status, shows that it lives."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._receivers: dict[Receiver, _Lately] = {}

    def note(self, receiver: Receiver, outcome: Outcome) -> bool:
        """Take in what became of one try; returns whether a rest of its receiver begins with it.

        After its rest a receiver has one try to show that something has changed.
        """
        if outcome.status is not None:
            self._receivers.pop(receiver, None)
        if outcome.error not in _OF_THE_HOST:
            return False  # a secret that cannot sign, or an address that is forbidden, says nothing about the host
        found = self._receivers.setdefault(receiver, _Lately())
        found.failures += 1
        begins = found.failures >= FAILURES and self._clock() >= found.rests_until
        if begins:
            found.rest = min(2 * found.rest or FIRST_REST_SECONDS, LONGEST_REST_SECONDS)
            found.rests_until = self._clock() + found.rest
        if len(self._receivers) > _KEPT:
            del self._receivers[next(iter(self._receivers))]
        return begins

    def most(self, receiver: Receiver, usual: int) -> int:
        """Return how many of its tries may be under way: none while it rests, and one until it answers again."""
        found = self._receivers.get(receiver)
        if found is None or not found.rest:
            return usual
        return 0 if found.rests_until > self._clock() else 1
