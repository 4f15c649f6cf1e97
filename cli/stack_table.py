"""The status table of the embedded stack."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.local.status import ServerStatus, State

_COLOURS = {
    State.UP: "green",
    State.DONE: "green",
    State.STARTING: "yellow",
    State.STOPPING: "yellow",
    State.DEAD: "bold red",
    State.STOPPED: "dim",
}


def status_table(rows: Iterable[ServerStatus]) -> Table:
    """Return one row for each server: name, state, address, seconds to ready, log file."""
    rows = list(rows)
    # One folder holds every log; naming it once, below, keeps the table within 80 columns.
    caption = f"logs are in {relative(str(Path(rows[0].log).parent))}" if rows else ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), caption=caption, caption_justify="left")
    for heading in ("server", "state", "address"):
        table.add_column(heading, no_wrap=True)
    table.add_column("ready in", justify="right", no_wrap=True)
    table.add_column("log", no_wrap=True)
    for row in rows:
        state = f"[{_COLOURS[row.state]}]{row.state}[/]"
        table.add_row(row.name, state, row.address or "-", _seconds(row), Path(row.log).name)
    return table


def print_table(rows: Iterable[ServerStatus]) -> None:
    """Print the table to standard output."""
    Console().print(status_table(rows))


def status_line(row: ServerStatus) -> str:
    """Return one row as one plain line, for logs and pipes."""
    return f"{row.name:<14} {row.state:<9} {row.address:<28} {_seconds(row)}".rstrip()


def relative(log: str) -> str:
    """Return the log's path as the user would type it."""
    path = Path(log)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else log


def _seconds(row: ServerStatus) -> str:
    return "" if row.seconds is None else f"{row.seconds:.1f} s"
