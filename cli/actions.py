"""``lakemill actions …``: what this code location can compute, and what a new action begins with."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from assets.declaration import Action

app = typer.Typer(no_args_is_help=True, help="The actions of this code location.")

_Name = Annotated[str, typer.Argument(help="The action's name.")]


@app.command("ls")
def list_actions(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print everything that they declare, as JSON.")] = False
) -> None:
    """List the actions with their inputs and outputs."""
    from rich.console import Console
    from rich.table import Table

    from assets.registry import registry

    if as_json:
        typer.echo(json.dumps([_facts(action) for action in registry()], indent=1))
        return
    table = Table("action", "inputs", "output", box=None, padding=(0, 2, 0, 0))
    for action in registry():
        table.add_row(action.name, " ".join(action.inputs), action.output)
    Console().print(table)


@app.command()
def new(
    name: _Name,
    dataset: Annotated[str, typer.Option("--input", help="The dataset that it reads.")] = "flights",
    *,
    in_sql: Annotated[bool, typer.Option("--sql", help="In SQL instead of Python.")] = False,
) -> None:
    """Write an action that counts rows, and its unit test, to begin with. Nothing is written over."""
    from cli.action_files import ActionFiles

    for path in ActionFiles().write(name, dataset, in_sql=in_sql):
        typer.echo(path)
    typer.echo(f"Change both, then: lakemill actions test {name}", err=True)


@app.command()
def test(name: _Name) -> None:
    """Run tests/actions/test_NAME.py, and prove that the order and number of input files do not change the rows."""
    import pytest

    from assets.registry import registry
    from cli.action_files import ActionFiles

    action = registry()[name]
    raise typer.Exit(pytest.main(["-q", *ActionFiles().tests_of(action.name)]))


@app.command()
def publish() -> None:
    """Tell the API which actions and profiles are deployed here; what is not here is withdrawn."""
    from assets.publish import main

    raise typer.Exit(main())


def register(root: typer.Typer) -> None:
    """Add ``actions`` to the command line."""
    root.add_typer(app, name="actions")


def _facts(action: "Action") -> dict[str, Any]:
    return {
        "name": action.name,
        "description": action.description,
        "output": action.output,
        "schema": str(action.schema),
        "inputs": action.snapshot_inputs,
        "landing": {name: source.format for name, source in action.landing_inputs.items()},
        "params": action.params_model.model_json_schema(),
        "checks": [str(check) for check in action.checks],
        "sort_by": action.sort_by,
        "profile": action.profile,
        "weight": action.weight,
        "registers": action.registers,
        "image": action.image,
        "digest": action.digest,
    }
