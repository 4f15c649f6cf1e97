"""The folders that sessions keep their own files in. What killed processes have left, the next session removes."""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "lakemill-scratch-"
_NEW_SECONDS = 60.0
"""A younger folder may be one that its process has yet to lock."""


def new_scratch() -> Path:
    """Make a folder in the temporary one, locked until this process ends, and remove those that nobody has locked.

    The system drops the lock with the process, however that ends.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is in use, or another user's, or gone by now
            _remove_unless_used(left)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX))
    fcntl.flock(os.open(made, os.O_RDONLY), fcntl.LOCK_EX)
    return made


def _remove_unless_used(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        if time.time() - folder.stat().st_mtime > _NEW_SECONDS:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
