"""Crash points for the fault tests: a no-op unless ``LAKEMILL_FAULTS_DIR`` is set.

A test arms a point by writing a file named like the point (``R3``) whose content is ``kill`` or ``stop``. The first
process to reach the point claims the file by renaming it and sends itself SIGKILL or SIGSTOP, once. The idea of crash
flags that a test arms from outside is Dagster's (its daemon tests).
"""

import os
import signal
import threading
from functools import cache
from pathlib import Path

from resources.settings import FaultSettings

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@cache
def _faults_dir() -> Path | None:
    return FaultSettings().faults_dir


def crash_point(name: str) -> None:
    """Die or stop here when a test has armed the point ``name``. See docs/architecture.md for the list of points."""
    folder = _faults_dir()
    if folder is None:
        return
    claimed = folder / f"{name}.{os.getpid()}.claimed"
    try:
        (folder / name).rename(claimed)
    except FileNotFoundError:
        return
    # To this very thread, which then goes no further; another one would take its time to stop the process.
    signal.pthread_kill(threading.get_ident(), _SIGNALS[claimed.read_text().strip()])
