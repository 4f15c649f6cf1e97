"""``lakemill snapshots …``: what is published, whether it is sound, what differs, what may go."""

import typer

from cli.snapshots import changing, collecting, proving, reading

app = typer.Typer(no_args_is_help=True, help="What is published: look at it, prove it, compare it, let it go.")
app.command("ls")(reading.list_snapshots)
app.command("show")(reading.show)
app.command("history")(reading.history)
app.command("verify")(proving.verify)
app.command("diff")(proving.diff)
app.command("gc")(collecting.collect)
app.command("retire")(changing.retire)
app.command("rebuild")(changing.rebuild)


def register(root: typer.Typer) -> None:
    """Add ``snapshots`` to the command line."""
    root.add_typer(app, name="snapshots")
