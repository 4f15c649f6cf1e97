"""``lakemill setup | up | down | status | restart``: the embedded stack."""

import sys
from typing import Annotated

import typer

from cli import exits
from deploy.local.status import State

_PANEL = "Embedded stack"
BasePort = Annotated[
    int | None,
    typer.Option(
        min=1024,
        max=65_520,
        show_default="as last time, else 8400",
        help="First of the sixteen ports that the stack uses.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (setup, up, down, status, restart):
        app.command(rich_help_panel=_PANEL)(command)


def setup(
    mirror: Annotated[str | None, typer.Option(help="Where to fetch the jars from instead of Maven Central.")] = None,
) -> None:
    """Fetch what the stack needs beside Python packages: the jars of Kafka and of Spark's S3 access."""
    from deploy.jars.java import find_java
    from deploy.jars.retrieve import ensure_jars
    from deploy.local.archive import ArchiveError, ensure_archive
    from deploy.local.environment import java_home
    from resources.settings import STATE_DIR

    java = find_java(java_home())
    typer.echo(
        f"Checking the jars in {STATE_DIR / 'jars'} (a first time fetches 53 MB from {mirror or 'Maven Central'}) …"
    )
    fetched = ensure_jars(STATE_DIR / "jars", java, mirror=mirror)
    typer.echo("The jars were fetched and match SHA256SUMS." if fetched else "The jars are there and match SHA256SUMS.")
    typer.echo("Checking Spark's class archive, which halves the start of every run (making it takes half a minute) …")
    try:
        made = ensure_archive(STATE_DIR / "jars", java)
    except ArchiveError as error:
        typer.echo(f"{error} Runs work without it.", err=True)
    else:
        typer.echo("The archive was made." if made else "The archive is there.")


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when every server is ready.")] = False,
    base_port: BasePort = None,
    host: Annotated[
        str | None, typer.Option(help="The address of this machine to listen at; default: as before.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Start only this server; repeat it.")] = None,
) -> None:
    """Start every server and watch them; Ctrl+C stops them all."""
    from cli.stack_session import run_detached, run_in_foreground
    from deploy.local.plan import SERVER_NAMES
    from deploy.local.stack import Stack
    from resources.settings import STATE_DIR

    stack = Stack(STATE_DIR, base_port, host=host)
    if unknown := set(only or ()) - set(SERVER_NAMES):
        raise typer.BadParameter(
            f"there is no {unknown.pop()!r}; there are {', '.join(SERVER_NAMES)}", param_hint="--only"
        )
    raise typer.Exit(run_detached(stack, only) if detach else run_in_foreground(stack, only))


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Also delete all state: databases, objects, secrets.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
) -> None:
    """Stop every server."""
    from cli.stack_session import unstoppable
    from deploy.local.stack import Stack
    from resources.settings import STATE_DIR

    if purge and not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on: add --yes", param_hint="--purge")
        typer.confirm(f"Delete all state of the stack in {STATE_DIR}, snapshots included?", abort=True)
    with unstoppable():
        stack = Stack(STATE_DIR)
        if purge:
            stack.purge()
        else:
            stack.stop()
    typer.echo(
        "Everything is stopped and its state is deleted." if purge else "Everything is stopped; the state is kept."
    )


def status(
    process_id: Annotated[str | None, typer.Argument(help="Show this process instead.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Of a process: print the API's answer.")] = False,
) -> None:
    """Show every server of the embedded stack (exit 0 only when all are up), or one process."""
    if process_id is not None:
        from cli.processes.commands import show

        show(process_id, as_json=as_json)
        return
    from cli.stack_table import print_table
    from deploy.local.stack import Stack
    from resources.settings import STATE_DIR

    rows = Stack(STATE_DIR).status()
    print_table(rows)
    raise typer.Exit(0 if all(row.state is State.UP for row in rows) else exits.FAILED)


def restart(name: Annotated[str, typer.Argument(help="The server's name, as 'lakemill status' shows it.")]) -> None:
    """Stop one server if it lives, and start it again."""
    from cli.stack_session import interruptible, print_progress
    from deploy.local.stack import Stack
    from resources.settings import STATE_DIR

    with interruptible():
        Stack(STATE_DIR).restart(name, print_progress)
