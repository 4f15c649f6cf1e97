"""A process while it goes on: its stages as they come."""

from collections.abc import Callable
from functools import partial
from typing import Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.client import ApiClient
from cli.polling import poll
from cli.processes.texts import full
from contracts.states import State

_LOOK_SECONDS = 0.5


def follow(client: ApiClient, process_id: str, seconds: float, *, is_quiet: bool) -> dict[str, Any]:
    """Show a process until it has ended; return it then. Raises LateError and ApiError.

    On a terminal the view stays in place; elsewhere each new stage is a line. The id comes first, whatever happens
    then; ``is_quiet`` leaves stdout to the caller, and puts the id on stderr.
    """
    console = Console(highlight=False)
    if is_quiet or not console.is_terminal:
        typer.echo(process_id, err=is_quiet)
        return _until_the_end(client, process_id, seconds, (lambda _: None) if is_quiet else _Lines())
    with Live(Text(process_id), console=console, refresh_per_second=4) as live:
        return _until_the_end(client, process_id, seconds, lambda process: live.update(full(process), refresh=True))


def _until_the_end(
    client: ApiClient, process_id: str, seconds: float, tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    ask = partial(client.process, process_id)
    return poll(ask, _has_ended, tell, what=f"process {process_id}", seconds=seconds, pause=_LOOK_SECONDS)


def _has_ended(process: dict[str, Any]) -> bool:
    return State(process["state"]).is_terminal


class _Lines:
    """Prints what is new."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def __call__(self, process: dict[str, Any]) -> None:
        for entry in process["timeline"]:
            stage = (entry["stage"], entry["at"])
            if stage not in self._told:
                self._told.add(stage)
                typer.echo(f"{entry['at'][11:19]} {entry['stage']} (attempt {entry['attempt']})")
        if _has_ended(process) and process["reason"]:
            typer.echo(f"{process['reason']['code']}: {process['reason']['message']}")
