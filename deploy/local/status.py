"""How one server stands, as the table of ``lakemill up`` and ``lakemill status`` shows it."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """A server's state; a step is starting, done or dead."""

    STOPPED = "stopped"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DEAD = "dead"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One row. ``seconds`` is the time from the start to readiness."""

    name: str
    state: State
    address: str = ""
    log: str = ""
    pid: int | None = None
    seconds: float | None = None
