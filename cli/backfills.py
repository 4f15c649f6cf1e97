"""``lakemill backfill …``: one action at one data version for many entities."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import exits
from cli.calling import Timeout, api, params_of
from contracts.states import State

app = typer.Typer(no_args_is_help=True, help="One action at one data version for many entities.")

_LOOK_SECONDS = 1.0
_A_DAY = 86_400
_Id = Annotated[str, typer.Argument(help="The backfill's id.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the API's answer instead of a text.")]


@app.command()
def create(  # noqa: PLR0913 - one for each field of a request
    action: Annotated[str, typer.Argument(help="What to compute.")],
    data_version: Annotated[str, typer.Argument(help="Which version of the data.")],
    entities: Annotated[Path | None, typer.Option(exists=True, help="A file with one entity_id a line.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Your entities that match: '*' any characters, '?' one.")] = None,
    params: Annotated[str | None, typer.Option(help="The action's parameters, a JSON object.")] = None,
    profile: Annotated[str | None, typer.Option(help="A resource profile's name.")] = None,
    callback: Annotated[str | None, typer.Option(help="Where the signed callback of each process goes.")] = None,
    key: Annotated[str | None, typer.Option(help="An idempotency key: repeat the same one safely.")] = None,
    *,
    priority: Annotated[int | None, typer.Option(min=-10, max=10, help="Before your others, or after them.")] = None,
    with_inputs: Annotated[bool, typer.Option(help="Your entities at which every input is published.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say how many entities it would be about, and make nothing.")] = False,
    as_json: _Json = False,
) -> None:
    """Ask for an action at many entities; versions that are published already are skipped."""
    select: dict[str, Any] = {
        "entities": entities and [line.strip() for line in entities.read_text().splitlines() if line.strip()],
        "pattern": pattern,
        "with_inputs": with_inputs or None,
    }
    request = {
        "action": action,
        "data_version": data_version,
        "select": {name: value for name, value in select.items() if value is not None},
        "params": params_of(params),
        "resource_profile": profile,
        "callback_url": callback,
        "priority": priority,
        "idempotency_key": key,
    }
    with api() as client:
        answer = client.create_backfill(
            {name: value for name, value in request.items() if value is not None}, dry_run=dry_run
        )
    _print(answer, as_json=as_json)


@app.command()
def show(backfill_id: _Id, *, as_json: _Json = False) -> None:
    """Show how far a backfill is, and in which states its processes are."""
    with api() as client:
        _print(client.backfill(backfill_id), as_json=as_json)


@app.command()
def watch(backfill_id: _Id, timeout: Timeout = _A_DAY) -> None:
    """Follow a backfill to the end of all its processes; exit 0 only when all have succeeded and none is left out."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from cli.polling import poll

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with api() as client, Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(backfill_id, told="", total=None)

        def tell(found: dict[str, Any]) -> None:
            counts = sorted(found["processes"].items())
            over = _ended(found) + found["skipped"] + found["refused"]
            told = ", ".join(f"{count} {state}" for state, count in counts)
            progress.update(task, total=found["entities"], completed=over, told=told)

        ask, what = partial(client.backfill, backfill_id), f"backfill {backfill_id}"
        found = poll(ask, _is_over, tell, what=what, seconds=timeout, pause=_LOOK_SECONDS)
    raise typer.Exit(0 if _is_well(found) else exits.FAILED)


@app.command("ls")
def list_backfills(
    limit: Annotated[int, typer.Option(min=1, max=50, help="The newest so many.")] = 20, *, as_json: _Json = False
) -> None:
    """List backfills, newest first."""
    with api() as client:
        found = client.backfills(limit)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for each in found:
        told = f"{each['looked_at']} of {each['entities']}"
        typer.echo(f"{each['backfill_id']}  {each['action']} {each['data_version']}  {each['state']}  {told}")


@app.command()
def pause(backfill_id: _Id, *, as_json: _Json = False) -> None:
    """Make no more processes, and release none of those that wait."""
    _steer(backfill_id, "pause", as_json=as_json)


@app.command()
def resume(backfill_id: _Id, *, as_json: _Json = False) -> None:
    """Go on with a paused one."""
    _steer(backfill_id, "resume", as_json=as_json)


@app.command()
def cancel(backfill_id: _Id, *, as_json: _Json = False) -> None:
    """Make no more processes, and cancel those that have not ended."""
    _steer(backfill_id, "cancel", as_json=as_json)


def _is_over(found: dict[str, Any]) -> bool:
    """Whether all its processes are made and have ended: a paused one may be over too."""
    is_made = found["looked_at"] == found["entities"] or found["state"] == "cancelled"
    return is_made and all(State(state).is_terminal for state in found["processes"])


def _is_well(found: dict[str, Any]) -> bool:
    """Whether every entity has what was asked for. One that was cancelled may have left some out."""
    is_whole = found["looked_at"] == found["entities"] and not found["refused"]
    return is_whole and set(found["processes"]) <= {State.SUCCEEDED}


def _ended(found: dict[str, Any]) -> int:
    return sum(count for state, count in found["processes"].items() if State(state).is_terminal)


def _steer(backfill_id: str, verb: str, *, as_json: bool) -> None:
    with api() as client:
        _print(client.steer_backfill(backfill_id, verb), as_json=as_json)


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
        return
    for name, value in answer.items():
        if value is not None:
            typer.echo(f"{name}: {value if isinstance(value, str | int) else json.dumps(value)}")


def register(root: typer.Typer) -> None:
    """Add ``backfill`` to the command line."""
    root.add_typer(app, name="backfill")
