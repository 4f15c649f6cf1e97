"""The stack under the demo: the running one, or one that lives as long as the demo."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from cli.demo.command import run_demo
from cli.stack_session import interruptible, print_progress, unstoppable
from deploy.local.errors import StackError
from deploy.local.stack import Stack
from deploy.local.status import State
from resources.settings import STATE_DIR, ControlSettings


def demo_session(*, whole_year: bool, scale: float) -> bool:
    """Run the demo and return whether everything it checks held. Raises StackError when a stack is up only in part."""
    console = Console()
    started = time.monotonic()
    with interruptible(), _running_stack(console):
        good = run_demo(ControlSettings(), console, whole_year=whole_year, scale=scale)
        console.print(f"{time.monotonic() - started:.0f} s in all, the stack's start included.")
    console.print(
        "The demo succeeded." if good else "The demo FAILED: see above.", style="bold green" if good else "bold red"
    )
    return good


@contextmanager
def _running_stack(console: Console) -> Iterator[None]:
    stack = Stack(STATE_DIR)
    states = {row.name: row.state for row in stack.status()}
    if all(state is State.UP for state in states.values()):
        console.print("Using the running stack.")
        yield
        return
    if any(state is not State.STOPPED for state in states.values()):
        missing = ", ".join(name for name, state in states.items() if state is not State.UP)
        raise StackError(
            f"A stack runs, but not {missing}. 'lakemill restart NAME' brings one back; 'lakemill down' ends all."
        )
    console.print("Starting a stack for the demo …")
    stack.start(print_progress)
    try:
        yield
    finally:
        with unstoppable():
            stack.stop()
        console.print("The stack is stopped; 'lakemill up' brings it back with everything that was published.")
