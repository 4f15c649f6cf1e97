"""The command line: ``lakemill …``. Each module adds its commands; imports that cost time stay inside functions."""

from typing import Any

import typer
from typer.core import TyperGroup

from cli import (
    actions,
    backfills,
    dead_letters,
    demo,
    doctor,
    exits,
    keys,
    processes,
    render,
    snapshots,
    stack_commands,
    tenants,
    topics,
    try_commands,
)
from contracts.problems import LakemillError


class _Commands(TyperGroup):
    """Prints what was raised on purpose as one message; anything else is a defect and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; how it ends is told by one of ``cli.exits``."""
        try:
            return super().invoke(ctx)
        except LakemillError as error:
            typer.echo(f"lakemill: {error}", err=True)
            raise typer.Exit(exits.FAILED) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Turns 'compute this action for this entity at this data version' into one snapshot and one signed callback.",
)
stack_commands.register(app)
processes.register(app)
backfills.register(app)
keys.register(app)
tenants.register(app)
snapshots.register(app)
actions.register(app)
topics.register(app)
dead_letters.register(app)
demo.register(app)
doctor.register(app)
render.register(app)
try_commands.register(app)
