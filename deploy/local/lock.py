"""One command at a time works on a state folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.errors import AlreadyRunningError


@contextmanager
def command_lock(state_dir: Path) -> Iterator[None]:
    """Hold the folder's lock for the block. Raises AlreadyRunningError when another command holds it.

    The system drops the lock with the process, so a killed command leaves none behind.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunningError(
                f"Another lakemill command starts or stops the stack in {state_dir} right now: wait for it, or stop it."
            ) from error
        yield
