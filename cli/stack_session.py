"""``lakemill up`` while it runs: the live table, the watch over the servers, and an orderly end."""

import signal
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from cli.stack_table import status_line, status_table
from deploy.local.stack import Stack
from deploy.local.status import ServerStatus, State

_WATCH_SECONDS = 0.5
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Screen:
    """Shows rows as they change: a live table on a terminal, a line for each change elsewhere."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._rows: dict[str, ServerStatus] = {}
        self._live: Live | None = None

    @contextmanager
    def live(self, rows: Iterable[ServerStatus]) -> Iterator[None]:
        """Keep the table in place for the block, when there is a terminal."""
        self._rows = {row.name: row for row in rows}
        if not self.console.is_terminal:
            yield
            return
        with Live(status_table(self._rows.values()), console=self.console, refresh_per_second=8) as self._live:
            yield

    def show(self, row: ServerStatus) -> None:
        """Show the row if it changed."""
        if self._rows.get(row.name) == row:
            return
        self._rows[row.name] = row
        if self._live:
            self._live.update(status_table(self._rows.values()))
        else:
            print_progress(row)

    def say(self, message: RenderableType) -> None:
        """Print above the table."""
        self.console.print(message)


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


def run_detached(stack: Stack, only: Collection[str] | None = None) -> int:
    """Start everything, or ``only`` those, and return 0; 130 when the user interrupted the start."""
    screen = _Screen()
    with screen.live(stack.status()):
        return _start(stack, screen, only)


def run_in_foreground(stack: Stack, only: Collection[str] | None = None) -> int:
    """Start everything, or ``only`` those, watch until the user ends it or all was stopped; return the exit code."""
    screen = _Screen()
    with screen.live(stack.status()):
        code = _start(stack, screen, only)
        if code:
            return code
        screen.say("Everything is up. Ctrl+C stops it; 'lakemill status' shows it in another terminal.\n")
        try:
            with interruptible():
                _watch(stack, screen)
        except KeyboardInterrupt:
            # The stop comes first: a closed or blocked terminal must not keep it from happening.
            with unstoppable(), ThreadPoolExecutor(max_workers=1) as pool:
                stopped = pool.submit(stack.stop)
                screen.say("Stopping …")
                stopped.result()
        for row in stack.status():
            screen.show(row)
    screen.say("Everything is stopped; the state is kept.")
    return 0


def print_progress(row: ServerStatus) -> None:
    """Print one event of a start as a line."""
    Console().print(status_line(row), highlight=False, markup=False, soft_wrap=True)


def _start(stack: Stack, screen: _Screen, only: Collection[str] | None) -> int:
    try:
        with interruptible():
            stack.start(screen.show, only=only)
    except KeyboardInterrupt:
        screen.say("Interrupted while starting; everything that had started is stopped again.")
        return 130
    return 0


def _watch(stack: Stack, screen: _Screen) -> None:
    """Name each server that dies, with the end of its log. Returns when everything was stopped from elsewhere."""
    told: dict[str, int | None] = {}
    while True:
        rows = stack.status()
        for row in rows:
            screen.show(row)
            if row.state is State.DEAD and told.get(row.name) != row.pid:
                told[row.name] = row.pid
                screen.say(_obituary(row, stack.logs.tail(row.name)))
        if all(row.state is State.STOPPED for row in rows):
            return
        time.sleep(_WATCH_SECONDS)


def _obituary(row: ServerStatus, tail: str) -> Panel:
    advice = Text(f"Nothing restarts by itself. Look at {row.log}, then: lakemill restart {row.name}", style="bold")
    return Panel(Group(Text.from_ansi(tail), Text(), advice), title=f"{row.name} died", title_align="left", style="red")
