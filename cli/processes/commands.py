"""The commands. They print for people, or JSON with ``--json``; what a script needs to know is the exit code.

0 done, and the process has succeeded where that is waited for; 1 it ended otherwise; 2 wrong usage; 3 not configured;
4 refused; 5 the API cannot be reached or answers with a fault of its own; 6 it has not ended in time.
"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import exits
from cli.calling import Timeout, api, params_of
from cli.processes.bodies import body_of

if TYPE_CHECKING:
    from cli.client import ApiClient

_PANEL = "Processes"
_ProcessId = Annotated[str, typer.Argument(help="The process's id.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the API's answer instead of a text.")]


def register(root: typer.Typer) -> None:
    """Add the commands to the application; ``status`` belongs to the embedded stack too and is added there."""
    for command in (submit, watch, cancel, retry):
        root.command(rich_help_panel=_PANEL)(command)
    root.command("ls", rich_help_panel=_PANEL)(list_processes)


def submit(  # noqa: PLR0913 - one for each field of a request
    entity_id: Annotated[str | None, typer.Argument(help="Whose data it is.")] = None,
    data_version: Annotated[str | None, typer.Argument(help="Which version of the data.")] = None,
    action: Annotated[str | None, typer.Argument(help="What to compute.")] = None,
    params: Annotated[str | None, typer.Option(help="The action's parameters, a JSON object.")] = None,
    profile: Annotated[str | None, typer.Option(help="A resource profile's name.")] = None,
    callback: Annotated[str | None, typer.Option(help="Where the signed callback goes.")] = None,
    priority: Annotated[int | None, typer.Option(min=-10, max=10, help="Before your others, or after them.")] = None,
    key: Annotated[str | None, typer.Option(help="An Idempotency-Key: repeat the same submit safely.")] = None,
    *,
    request: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(metavar="FILE", help="Instead of those: the JSON body of POST /v1/processes; '-' reads stdin."),
    ] = None,
    use_existing: Annotated[bool, typer.Option(help="Join your process at that coordinate, if any.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would become of it, and accept nothing.")] = False,
    wait: Annotated[bool, typer.Option("--watch", "-w", help="Watch it until it has ended.")] = False,
    timeout: Timeout = 3600,
    as_json: _Json = False,
) -> None:
    """Ask for one action at one coordinate."""
    fields = {
        "entity_id": entity_id,
        "data_version": data_version,
        "action": action,
        "params": params_of(params),
        "resource_profile": profile,
        "callback_url": callback,
        "priority": priority,
    }
    body = body_of(fields, request)
    with api() as client:
        answer = client.submit(body, idempotency_key=key, use_existing=use_existing, dry_run=dry_run)
        if wait and not dry_run:
            _watch(client, str(answer["process_id"]), timeout, as_json=as_json)
    _print(answer, as_json=as_json)


def show(process_id: str, *, as_json: bool) -> None:
    """Show one process: its state, why it does not go on, its stages, its snapshot."""
    with api() as client:
        _print(client.process(process_id), as_json=as_json)


def watch(process_id: _ProcessId, timeout: Timeout = 3600, *, as_json: _Json = False) -> None:
    """Follow a process until it has ended; exit 0 only when it has succeeded."""
    with api() as client:
        _watch(client, process_id, timeout, as_json=as_json)


def cancel(process_id: _ProcessId, *, as_json: _Json = False) -> None:
    """End a process. A commit that is there first wins."""
    with api() as client:
        _print(client.cancel(process_id), as_json=as_json)


def retry(
    process_id: _ProcessId,
    key: Annotated[str | None, typer.Option(help="An Idempotency-Key: repeat the same retry safely.")] = None,
    *,
    wait: Annotated[bool, typer.Option("--watch", "-w", help="Watch it until it has ended.")] = False,
    timeout: Timeout = 3600,
    as_json: _Json = False,
) -> None:
    """Make a new process of the request of one that failed, was cancelled or expired."""
    with api() as client:
        answer = client.retry(process_id, idempotency_key=key)
        if wait:
            _watch(client, str(answer["process_id"]), timeout, as_json=as_json)
    _print(answer, as_json=as_json)


def list_processes(
    entity: Annotated[str | None, typer.Option(help="Only this entity's.")] = None,
    version: Annotated[str | None, typer.Option(help="Only of this data version.")] = None,
    action: Annotated[str | None, typer.Option(help="Only of this action.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state.")] = None,
    backfill: Annotated[str | None, typer.Option(help="Only of the backfill with this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    *,
    as_json: _Json = False,
) -> None:
    """List processes, newest first."""
    from cli.processes.texts import table

    filters = {"entity_id": entity, "data_version": version, "action": action, "state": state, "backfill_id": backfill}
    with api() as client:
        found = list(client.processes(limit, {name: value for name, value in filters.items() if value is not None}))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        table(found)


def _watch(client: "ApiClient", process_id: str, timeout: float, *, as_json: bool) -> None:
    """Follow a process to its end and leave with the exit code that tells it."""
    from cli.processes.watching import follow
    from contracts.states import State

    process = follow(client, process_id, timeout, is_quiet=as_json)
    if as_json:
        typer.echo(json.dumps(process, indent=1))
    raise typer.Exit(0 if process["state"] == State.SUCCEEDED else exits.FAILED)


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    from cli.processes.texts import describe

    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        describe(answer)
