"""``lakemill up`` while it runs: the live table, the watch over the servers, and an orderly end."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from cli.stack_table import status_line, status_table
from deploy.local.stack import Stack
from deploy.local.status import ServerStatus, State

_WATCH_SECONDS = 0.5
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl+C, SIGTERM and a closed terminal alike into KeyboardInterrupt for the block."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unstoppable() -> Iterator[None]:
    """Ignore those signals for the block: a second Ctrl+C must not leave half of the servers behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_detached(stack: Stack) -> int:
    """Start everything and return 0; 130 when the user interrupted the start."""
    return _start(stack, Console())


def run_in_foreground(stack: Stack) -> int:
    """Start everything, watch until the user ends it or everything was stopped, and return the exit code."""
    console = Console()
    code = _start(stack, console)
    if code:
        return code
    console.print("\nEverything is up. Ctrl+C stops it; 'lakemill status' shows it in another terminal.")
    try:
        with interruptible():
            _watch(stack, console)
    except KeyboardInterrupt:
        console.print("Stopping …")
        with unstoppable():
            stack.stop()
    console.print("Everything is stopped; the state is kept.")
    return 0


def print_progress(row: ServerStatus) -> None:
    """Print one event of a start as a line."""
    Console().print(status_line(row), highlight=False, markup=False, soft_wrap=True)


def _start(stack: Stack, console: Console) -> int:
    try:
        with interruptible():
            if console.is_terminal:
                _start_with_table(stack, console)
            else:
                stack.start(print_progress)
    except KeyboardInterrupt:
        console.print("Interrupted while starting; everything that had started is stopped again.")
        return 130
    return 0


def _start_with_table(stack: Stack, console: Console) -> None:
    rows = {row.name: row for row in stack.status()}
    with Live(status_table(rows.values()), console=console, refresh_per_second=8) as live:

        def progress(row: ServerStatus) -> None:
            rows[row.name] = row
            live.update(status_table(rows.values()))

        stack.start(progress)


def _watch(stack: Stack, console: Console) -> None:
    """Name each server that dies, with the end of its log. Returns when everything was stopped from elsewhere."""
    told: dict[str, int | None] = {}
    while True:
        rows = stack.status()
        if all(row.state is State.STOPPED for row in rows):
            return
        for row in rows:
            if row.state is State.DEAD and told.get(row.name) != row.pid:
                told[row.name] = row.pid
                console.print(_obituary(row, stack.logs.tail(row.name)))
        time.sleep(_WATCH_SECONDS)


def _obituary(row: ServerStatus, tail: str) -> Panel:
    advice = Text(f"Nothing restarts by itself. Look at {row.log}, then: lakemill restart {row.name}", style="bold")
    return Panel(
        Group(Text.from_ansi(tail), Text(), advice), title=f"{row.name} died", border_style="red", title_align="left"
    )
