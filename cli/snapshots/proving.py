"""``lakemill snapshots verify | diff``: reads the lake and needs Arrow, which the image of the compute plane has."""

import importlib.util
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import exits
from cli.snapshots.running import (
    AsJson,
    Dataset,
    EntityId,
    SomeVersion,
    coordinate,
    counted,
    on_lake,
    progress_bar,
)

if TYPE_CHECKING:
    from assets.snapshots.comparing import CommitDifference, RowDifference
    from assets.snapshots.verify import VerifyReport
    from contracts.identity import Coordinate
    from resources.lake.store import Lake


def verify(
    entity_id: EntityId,
    data_version: SomeVersion = None,
    dataset: Annotated[str | None, typer.Argument(help="Of this dataset only.")] = None,
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every byte, and measure what the commit says.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that snapshots are what their commits say. Exit 4 when one is not, or when there is none."""
    from assets.snapshots.published import committed

    _needs_arrow()
    place = coordinate(entity_id, data_version, dataset) if data_version and dataset else None

    def work(lake: "Lake") -> "list[VerifyReport]":
        places = [place] if place else counted(committed(lake, entity_id, data_version), "listing the lake")
        return _verified(lake, places, deep)

    reports = on_lake(work)
    if as_json:
        typer.echo(json.dumps([_report_facts(report) for report in reports], indent=1))
    else:
        for report in reports:
            typer.echo(f"{report.coordinate}: {_verdict(report)}")
            for problem in report.problems:
                typer.echo(f"    {problem}")
    if not reports:
        typer.echo("lakemill: nothing is published there", err=True)
    raise typer.Exit(0 if reports and all(report.ok for report in reports) else exits.FOUND)


def diff(
    entity_id: EntityId,
    old: Annotated[str, typer.Argument(help="A version of the data.")],
    new: Annotated[str, typer.Argument(help="Another one.")],
    dataset: Dataset,
    keys: Annotated[str | None, typer.Option(help="Compare row by row, by these columns: a,b,c.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare two versions of a dataset. Exit 4 when the data differ; where they come from may differ."""
    from assets.snapshots.comparing import compare_commits, compare_rows
    from assets.snapshots.reader import open_snapshot

    _needs_arrow()
    places = [coordinate(entity_id, version, dataset) for version in (old, new)]
    columns = [name.strip() for name in keys.split(",")] if keys else []

    def work(lake: "Lake") -> "tuple[CommitDifference, RowDifference | None]":
        before, after = (open_snapshot(lake, place) for place in places)
        commits = compare_commits(before, after)
        if not columns:
            return commits, None
        with progress_bar() as bar:
            task = bar.add_task("files", total=None)
            return commits, compare_rows(
                before, after, columns, progress=lambda n, of: bar.update(task, completed=n, total=of)
            )

    commits, rows = on_lake(work)
    if as_json:
        told = {"data": _pairs(commits.data), "origin": _pairs(commits.origin), "rows": rows and asdict(rows)}
        typer.echo(json.dumps(told, indent=1, default=str))
    else:
        _describe(commits, rows)
    raise typer.Exit(exits.FOUND if commits.data or (rows and not rows.is_none) else 0)


def _needs_arrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        typer.echo("lakemill: this reads Parquet and needs pyarrow: run it in the compute plane's image.", err=True)
        raise typer.Exit(exits.CONFIG)


def _verified(lake: "Lake", places: "list[Coordinate]", deep: bool) -> "list[VerifyReport]":
    from assets.snapshots.verify import verify as prove

    reports = []
    with progress_bar() as progress:
        task = progress.add_task("files")
        for number, place in enumerate(places, 1):
            progress.reset(task, description=f"{number} of {len(places)}: {place}, files", total=None)
            reports.append(
                prove(lake, place, deep=deep, progress=lambda n, of: progress.update(task, completed=n, total=of))
            )
    return reports


def _verdict(report: "VerifyReport") -> str:
    size = f"{report.files:,} files, {report.rows:,} rows, commit {(report.digest or '')[:12]}"
    return f"sound; {size}" if report.ok else "NOT SOUND"


def _report_facts(report: "VerifyReport") -> dict[str, Any]:
    told = {"rows": report.rows, "files": report.files, "commit_digest": report.digest}
    return {**asdict(report.coordinate), "sound": report.ok, **told, "problems": report.problems}


def _pairs(facts: dict[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {"old": old, "new": new} for name, (old, new) in facts.items()}


def _describe(commits: "CommitDifference", rows: "RowDifference | None") -> None:
    from cli.snapshots.facts import print_fields

    if rows is not None:
        counts = asdict(rows)
        examples = counts.pop("examples")
        print_fields(counts)
        for name, found in examples.items():
            if found:
                typer.echo(f"{name}, for example: {json.dumps(found, default=str)}")
    for title, facts in (("the data", commits.data), ("where they come from", commits.origin)):
        if facts:
            typer.echo(f"{title}:")
            print_fields({f"  {name}": f"{old} → {new}" for name, (old, new) in facts.items()})
    if not commits.data and (rows is None or rows.is_none):
        typer.echo("The rows are the same." if rows else "The commits tell of the same data; --keys compares the rows.")
