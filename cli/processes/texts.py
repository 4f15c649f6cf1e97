"""What people read of processes: one in full, or a table of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_COLOURS = {"succeeded": "green", "failed": "bold red", "cancelled": "yellow", "expired": "yellow", "running": "cyan"}
_HIDDEN = {"links"}


def describe(answer: Mapping[str, Any]) -> None:
    """Print a process, the answer to a submit, or a preview."""
    Console(highlight=False).print(full(answer) if "timeline" in answer else _fields(answer))


def table(found: Iterable[Mapping[str, Any]]) -> None:
    """Print one row for each process."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("process", no_wrap=True, min_width=36)  # to be copied
    grid.add_column("state", no_wrap=True, min_width=9)
    for heading in ("action", "entity", "version"):
        grid.add_column(heading, overflow="fold")
    for each in found:
        names = ("action", "entity_id", "data_version")
        grid.add_row(each["process_id"], state_of(each), *(each[name] for name in names))
    Console(highlight=False).print(grid)


def full(process: Mapping[str, Any]) -> RenderableType:
    """Return a process with its stages."""
    place = f"{process['entity_id']} {process['data_version']} {process['dataset']}"
    head = Text.assemble(f"{process['process_id']}  ", state_of(process))
    return Group(head, Text(f"{process['action']}  {place}"), *_notes(process), stages(process["timeline"]))


def stages(timeline: Iterable[Mapping[str, Any]]) -> Table:
    """Return one row for each stage: when, how long after the one before."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("at")
    grid.add_column("after", justify="right")
    grid.add_column("stage")
    for entry in timeline:
        attempt = f" (attempt {entry['attempt']})" if entry["attempt"] > 1 else ""
        grid.add_row(entry["at"][11:19], f"{entry['seconds']:.1f} s", f"{entry['stage']}{attempt}")
    return grid


def state_of(process: Mapping[str, Any]) -> Text:
    """Return the state, coloured."""
    return Text(process["state"], style=_COLOURS.get(process["state"], ""))


def _notes(process: Mapping[str, Any]) -> Iterable[Text]:
    if process["reason"]:
        yield Text(f"{process['reason']['code']}: {process['reason']['message']}", style="red")
    if process["blocked_by"]:
        yield Text(f"waits: {process['blocked_by']['message']}", style="dim")
    if process["snapshot"]:
        snapshot = process["snapshot"]
        yield Text(f"{snapshot['path']}  {snapshot['rows']} rows, {snapshot['bytes']} bytes, {snapshot['files']} files")
    if process["run"] and process["run"].get("url"):
        yield Text(f"run: {process['run']['url']}", style="dim")


def _fields(answer: Mapping[str, Any]) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name, value in answer.items():
        if value is not None and name not in _HIDDEN:
            grid.add_row(name, Text(str(value)))
    return grid
