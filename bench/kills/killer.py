"""Kill servers of the embedded stack with -9 and start them again, as an operator or a cluster would."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from bench.kills.history import History, Kill
from deploy.local.plan import SERVER_NAMES
from deploy.local.stack import Stack
from deploy.local.status import State

VICTIMS = ("worker", "api", "postgres", "daemon", "kafka")
_LONGEST_PAUSE = 4.0


def victims(kills: int, chance: random.Random) -> Iterator[str]:
    """Yield ``kills`` names by chance, each server as often as any other."""
    left: list[str] = []
    for _ in range(kills):
        if not left:
            left = chance.sample(VICTIMS, k=len(VICTIMS))
        yield left.pop()


def kill_all(stack: Stack, kills: int, chance: random.Random, history: History) -> None:
    """Kill one server after the other, at moments that chance decides; each is ready again before the next.

    Raises StackError when one does not start again.
    """
    for name in victims(kills, chance):
        time.sleep(chance.uniform(0, _LONGEST_PAUSE))
        revive(stack, history)
        began = time.monotonic()
        kill(stack, name)
        stack.restart(name)
        history.kills.append(Kill(name, time.monotonic() - began))
    revive(stack, history)


def kill(stack: Stack, name: str) -> None:
    """End a server with SIGKILL, and with it what it forked; return once all of it is gone."""
    leader = psutil.Process(next(row.pid for row in stack.status() if row.name == name))
    # PostgreSQL's backends are in sessions of their own; the postmaster first, so that it makes no new one.
    family = [leader, *leader.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    stack.wait_dead(name)
    psutil.wait_procs(family[1:], timeout=10)


def revive(stack: Stack, history: History) -> None:
    """Start what has ended by itself, in the order of the plan, and note that it has."""
    dead = {row.name for row in stack.status() if row.state is State.DEAD}
    for name in (name for name in SERVER_NAMES if name in dead):
        history.died.append(name)
        stack.restart(name)
