"""``lakemill snapshots gc``: token folders that published nothing and never will, on both planes."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli import exits
from cli.database import administrator
from cli.snapshots.running import AsJson, SomeEntity, on_both_planes, progress_bar, say

if TYPE_CHECKING:
    from control.recovery.gc import Collected
    from resources.database import Database
    from resources.lake.store import Lake
    from resources.settings import ControlSettings


def collect(
    entity_id: SomeEntity = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what attempts have left behind that published nothing. Cut off, say it again."""
    if not (dry_run or yes or sys.stdin.isatty()):
        typer.echo("lakemill: there is nobody to ask; --yes removes without, --dry-run only looks.", err=True)
        raise typer.Exit(exits.USAGE)

    async def work(db: "Database", lake: "Lake", settings: "ControlSettings") -> "Collected":
        from control.recovery.gc import Collector

        with progress_bar() as bar:
            task = bar.add_task("folders", total=None)
            collector = Collector(
                db,
                lake,
                settings,
                administrator(),
                tell=bar.console.print,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
            found = await collector.look(entity_id)
            if found.garbage and not dry_run:
                bar.stop()
                if not yes:
                    _ask(found)
                bar.start()
                await collector.collect(found)
        return found

    _describe(on_both_planes(work), as_json)


def _ask(found: "Collected") -> None:
    say(_sum(found))
    typer.confirm("Remove them for ever?", abort=True, err=True)


def _sum(found: "Collected") -> str:
    objects, size = (sum(getattr(each, name) for each in found.garbage) for name in ("objects", "bytes"))
    return f"{len(found.garbage)} folders are garbage: {objects:,} objects, {size:,} bytes."


def _describe(found: "Collected", as_json: bool) -> None:
    if as_json:
        garbage = [each.document() for each in found.garbage]
        typer.echo(json.dumps({"kept": found.kept, "garbage": garbage, "removed": found.removed}, indent=1))
        return
    for each in found.garbage:
        folder = each.folder
        typer.echo(f"{folder.coordinate}/{folder.token}: {each.objects} objects, {each.bytes:,} bytes")
    kept = ", ".join(f"{count} {why}" for why, count in found.kept.items() if count)
    typer.echo(f"{_sum(found)} {found.removed} were removed. Kept: {kept or 'none'}.")
