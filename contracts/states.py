"""The states of a process and the moves between them (docs/architecture.md draws them)."""

from enum import StrEnum


class State(StrEnum):
    """Where a process stands. Terminal states never change."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self in TERMINAL


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})
ACTIVE = frozenset(State) - TERMINAL

_ENDS = frozenset(TERMINAL)
MOVES: dict[State, frozenset[State]] = {
    State.ACCEPTED: _ENDS | {State.QUEUED},
    State.QUEUED: _ENDS | {State.RUNNING, State.ACCEPTED},  # back to accepted only as the next attempt
    State.RUNNING: _ENDS | {State.ACCEPTED},
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
}
"""For each state, the states that may follow it."""
