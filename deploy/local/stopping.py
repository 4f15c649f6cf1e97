"""Stopping servers for sure: a polite signal, a deadline, then SIGKILL for all that is left of their sessions."""

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psutil

from deploy.local.records import Records, ServerRecord, leader, members, strays

STOP_SECONDS = 14.0
"""For everything together; a user was promised 15."""
_POLL = 0.05


def stop_all(records: Records, state_dir: Path, *, reap: Callable[[], None]) -> None:
    """Stop every recorded server, last started first, the storage servers last. Leaves no process of this stack.

    ``reap`` is called while waiting, so that ended children of this process do not stay as zombies.
    """
    started = time.monotonic()
    running = records.all()[::-1]
    for record in running:
        records.mark_stopping(record)
    waves = sorted({record.wave for record in running})
    for number, wave in enumerate(waves, start=1):
        deadline = started + STOP_SECONDS * number / len(waves)
        stop([record for record in running if record.wave == wave], deadline=deadline, reap=reap)
    _kill(strays(state_dir), reap)
    for record in running:
        records.remove(record.name)


def stop(servers: Sequence[ServerRecord], *, deadline: float, reap: Callable[[], None]) -> None:
    """Signal the servers at once, wait for them until ``deadline`` (monotonic seconds), then kill their sessions."""
    for server in servers:
        _signal(members(server), server.stop_signal)
    while any(leader(server) for server in servers) and time.monotonic() < deadline - 1:
        reap()
        time.sleep(_POLL)
    _kill([process for server in servers for process in members(server)], reap)


def _kill(processes: Iterable[psutil.Process], reap: Callable[[], None]) -> None:
    left = list(processes)
    _signal(left, signal.SIGKILL)
    while left:
        reap()
        left = [process for process in left if _lives(process)]
        time.sleep(_POLL if left else 0)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
