"""``lakemill demo``: real data through the whole path, on the running stack or on one started for it."""

from typing import Annotated

import typer

from cli import exits


def register(root: typer.Typer) -> None:
    """Add ``demo`` to the command line."""
    root.command(rich_help_panel="Embedded stack")(demo)


def demo(
    whole_year: Annotated[
        bool,
        typer.Option("--all", help="All carriers and months of 2013 instead of four by three; an hour or more."),
    ] = False,
    scale: Annotated[float, typer.Option(min=0.01, max=10, help="TPC-H scale factor.")] = 0.1,
) -> None:
    """Ingest flights and TPC-H, compute on them through the API, verify every callback and snapshot."""
    from cli.demo.session import demo_session

    raise typer.Exit(0 if demo_session(whole_year=whole_year, scale=scale) else exits.FAILED)
