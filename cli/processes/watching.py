"""A process while it goes on: its stages as they come."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.live import Live

from cli.client import ApiClient
from cli.processes.texts import full
from contracts.states import State

_LOOK_SECONDS = 0.5


def follow(client: ApiClient, process_id: str, seconds: float, *, is_quiet: bool) -> dict[str, Any]:
    """Show a process until it has ended; return it then. Raises TimeoutError, and what the client raises.

    On a terminal the view stays in place; elsewhere each new stage is a line.
    """
    console = Console(highlight=False)
    if not is_quiet and not console.is_terminal:
        print(process_id)  # noqa: T201 - it is what was asked for
    if is_quiet:
        return _until_the_end(client, process_id, seconds, lambda _: None)
    if not console.is_terminal:
        return _until_the_end(client, process_id, seconds, _Lines())
    with Live(console=console, refresh_per_second=4) as live:
        return _until_the_end(client, process_id, seconds, lambda process: live.update(full(process), refresh=True))


def _until_the_end(
    client: ApiClient, process_id: str, seconds: float, tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        process = client.process(process_id)
        tell(process)
        if State(process["state"]).is_terminal:
            return process
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process_id} is still {process['state']} after {seconds:.0f} s")
        time.sleep(_LOOK_SECONDS)


class _Lines:
    """Prints what is new."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def __call__(self, process: dict[str, Any]) -> None:
        for entry in process["timeline"]:
            stage = (entry["stage"], entry["at"])
            if stage not in self._told:
                self._told.add(stage)
                print(f"{entry['at'][11:19]} {entry['stage']} (attempt {entry['attempt']})")  # noqa: T201 - it is what was asked for
        if State(process["state"]).is_terminal and process["reason"]:
            print(f"{process['reason']['code']}: {process['reason']['message']}")  # noqa: T201
