"""What a command leaves the shell with: 0 done, or one of these. A script goes by them, so none ever changes."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from contracts.problems import LakemillError

FAILED = 1
"""It was done and the answer is no: a check failed, a process ended otherwise, a server is down, somebody said no."""
USAGE = 2
"""It was asked for wrongly; Typer's own code for that."""
CONFIG = 3
"""A setting is missing or refused, or what the command needs is not installed here."""
REFUSED = 4
"""It is not done, and something about it must change first."""
FOUND = 4
"""It is done, and something was found that a person or a script must look at."""
REMOTE = 5
"""The API, the database or the lake cannot be reached, or is at fault: say it again."""
LATE = 6
"""What was waited for has not ended in time."""


@contextmanager
def told(*gave_out: type[LakemillError]) -> Iterator[None]:
    """Make a message and an exit code of what is raised on purpose: REMOTE of ``gave_out``, REFUSED of all else."""
    try:
        yield
    except gave_out as error:
        typer.echo(f"lakemill: {error}. It is not done: say it again.", err=True)
        raise typer.Exit(REMOTE) from None
    except LakemillError as error:
        typer.echo(f"lakemill: {error}", err=True)
        raise typer.Exit(REFUSED) from None
