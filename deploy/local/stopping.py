"""Stopping servers for sure: a polite signal, a grace, then SIGKILL for all that is left of their sessions.

There are two waves of at most six seconds each, so that everything ends within the 15 s that a user is promised.
"""

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psutil

from deploy.local.records import Records, ServerRecord, leader, members, strays

_POLL = 0.05


def stop_all(records: Records, state_dir: Path, *, reap: Callable[[], None]) -> None:
    """Stop every recorded server, last started first, the storage servers last. Leaves no process of this stack.

    ``reap`` is called while waiting, so that ended children of this process do not stay as zombies.
    """
    running = records.all()[::-1]
    for record in running:
        records.mark_stopping(record)
    for wave in sorted({record.wave for record in running}):
        stop([record for record in running if record.wave == wave], reap=reap)
    _kill(strays(state_dir), reap)
    for record in running:
        records.remove(record.name)


def stop(servers: Sequence[ServerRecord], *, reap: Callable[[], None]) -> None:
    """Signal the servers at once, kill each one's session when it has ended or its grace has passed."""
    begun = time.monotonic()
    for server in servers:
        _signal(members(server), server.stop_signal)
    waiting = list(servers)
    while waiting:
        reap()
        over = [server for server in waiting if not leader(server) or time.monotonic() > begun + server.grace]
        _kill([process for server in over for process in members(server)], reap)
        waiting = [server for server in waiting if server not in over]
        time.sleep(_POLL if waiting else 0)


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
