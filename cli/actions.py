"""``lakemill actions …``: what this code location can compute."""

import typer

app = typer.Typer(no_args_is_help=True, help="The actions of this code location.")


@app.command("ls")
def list_actions() -> None:
    """List the actions with their inputs and outputs."""
    from rich.console import Console
    from rich.table import Table

    from assets.registry import registry

    table = Table("action", "inputs", "output", box=None, padding=(0, 2, 0, 0))
    for action in registry():
        table.add_row(action.name, " ".join(action.inputs), action.output)
    Console().print(table)


@app.command()
def publish() -> None:
    """Tell the API which actions and profiles are deployed here; what is not here is withdrawn."""
    from assets.publish import main

    raise typer.Exit(main())


def register(root: typer.Typer) -> None:
    """Add ``actions`` to the command line."""
    root.add_typer(app, name="actions")
