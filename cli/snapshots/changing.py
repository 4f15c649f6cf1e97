"""``lakemill snapshots retire | rebuild``: what changes what is published, or known of it, on both planes."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli import exits
from cli.database import administrator
from cli.snapshots.running import (
    AsJson,
    Dataset,
    DataVersion,
    EntityId,
    coordinate,
    on_both_planes,
    say,
)
from contracts.identity import Coordinate

if TYPE_CHECKING:
    from control.recovery.findings import Findings
    from control.recovery.retire import Retirer, Standing
    from resources.database import Database
    from resources.lake.store import Lake
    from resources.settings import ControlSettings


def retire(
    entity_id: EntityId,
    data_version: DataVersion,
    dataset: Dataset,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a snapshot for ever: nothing can be published at its coordinate again. Cut off, say it again."""
    from control.recovery.retire import Retirer

    place = coordinate(entity_id, data_version, dataset)
    if not yes and not sys.stdin.isatty():
        typer.echo("lakemill: there is nobody to ask; --yes retires it without.", err=True)
        raise typer.Exit(exits.USAGE)

    def retirer(db: "Database", lake: "Lake", settings: "ControlSettings") -> "Retirer":
        return Retirer(db, lake, settings, administrator(), tell=say)

    if not yes:
        _ask(place, on_both_planes(lambda *ports: retirer(*ports).look(place)))
    removed = on_both_planes(lambda *ports: retirer(*ports).retire(place))
    typer.echo(f"{place} is retired; {removed} objects were removed.")


def rebuild(*, as_json: AsJson = False) -> None:
    """Put back, after a restore of the database, what the lake knows: what is published or retired, and whose it is.

    Submits answer 503 until it is done. Cut off, say it again.
    """
    from cli.snapshots.rebuild_texts import describe
    from control.recovery.rebuild import Rebuilder

    async def work(db: "Database", lake: "Lake", settings: "ControlSettings") -> "Findings":
        with _progress() as show:
            return await Rebuilder(db, lake, settings, administrator(), tell=say, progress=show).rebuild()

    findings = on_both_planes(work)
    if as_json:
        typer.echo(json.dumps({"is_over": findings.is_over, **findings.document()}, indent=1))
    else:
        describe(findings)
    raise typer.Exit(0 if findings.is_well else exits.FOUND)


def _ask(place: Coordinate, standing: "Standing") -> None:
    if standing.retired_at is not None:
        typer.echo(f"{place} was retired at {standing.retired_at.isoformat(timespec='seconds')}; what is left goes.")
    else:
        found, since = standing.artifact, standing.artifact.committed_at.isoformat(timespec="seconds")
        told = f"{found.rows} rows, {found.bytes} bytes, {found.files} files, committed at {since}"
        typer.echo(f"{found.path}: {told}")
    typer.confirm("Retire it for ever? Its files are removed, and nothing can be published there again.", abort=True)


@contextmanager
def _progress() -> "Iterator[Callable[[Findings], None]]":
    """Yield what shows the findings as they grow; it shows nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("the lake", total=None)

        def show(found: "Findings") -> None:
            told = f"{found.objects} objects listed, {found.snapshots} commits read, {found.restored} restored"
            progress.update(task, description=told)

        yield show
