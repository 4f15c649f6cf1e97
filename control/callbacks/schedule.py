"""When a callback is tried again, and when no more: decisions only, no clock and no database."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from resources.callbacks.sender import Outcome

_MINUTE, _HOUR = 60, 3600
DELAYS_SECONDS = (
    5,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
"""After the first failed try, the second, …: ten tries over 75 hours and 35 minutes, as Standard Webhooks proposes."""
MAX_TRIES = len(DELAYS_SECONDS) + 1
TIME_LEFT = {tries: timedelta(seconds=sum(DELAYS_SECONDS[tries:])) for tries in range(MAX_TRIES)}
"""After so many tries: how long the rest of them takes. What has been due for longer, untried, is given up."""
JITTER = 0.1
LONGEST_WAIT = timedelta(hours=24)
"""A receiver may ask for more patience (Retry-After), but for no more than this."""


class DeliveryState(StrEnum):
    """The states of a delivery row."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class CallbackVerdict:
    """What follows from one try. ``delay`` is set iff the state stays PENDING."""

    state: DeliveryState
    delay: timedelta | None = None


def judge(tries: int, outcome: Outcome, chance: float) -> CallbackVerdict:
    """Say what follows the ``tries``-th try (1, 2, …). ``chance`` in [0, 1) spreads the next one by ±10 %."""
    if outcome.is_delivered:
        return CallbackVerdict(DeliveryState.DELIVERED)
    # 410: the receiver says that nobody will ever listen there again.
    if outcome.status == 410 or tries >= MAX_TRIES:
        return CallbackVerdict(DeliveryState.EXHAUSTED)
    planned = timedelta(seconds=DELAYS_SECONDS[tries - 1] * (1 + JITTER * (2 * chance - 1)))
    asked = min(timedelta(seconds=outcome.retry_after or 0), LONGEST_WAIT)
    return CallbackVerdict(DeliveryState.PENDING, max(planned, asked))
