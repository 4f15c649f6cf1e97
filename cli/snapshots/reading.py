"""``lakemill snapshots ls | show | history``: what the lake itself says. The lake's settings are all they need.

The API's ``GET /v1/snapshots`` tells a tenant of its own, from an index; this tells whoever can read the bucket of
everything in it, an outage of the control plane included.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli import exits
from cli.snapshots.running import (
    AsJson,
    Dataset,
    DataVersion,
    EntityId,
    SomeEntity,
    SomeVersion,
    coordinate,
    counted,
    on_lake,
)
from contracts.identity import Coordinate

if TYPE_CHECKING:
    from assets.snapshots.published import Entry
    from resources.lake.store import Lake

_Told = TypeVar("_Told")
_Dated = tuple[datetime | None, Coordinate, dict[str, Any]]
"""When and where it happened, and the line that tells of it."""
_SomeDataset = Annotated[str | None, typer.Option("--dataset", help="Of this dataset only.")]
_STATISTICS = ("column", "nulls", "minimum", "maximum")
_LISTED = ("entity_id", "data_version", "dataset", "status", "rows", "bytes", "files", "committed_at")


def list_snapshots(
    entity_id: SomeEntity = None,
    data_version: SomeVersion = None,
    dataset: _SomeDataset = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List what is published, from the lake. Exit 4 when something there cannot be read."""
    from cli.snapshots.facts import entry_facts

    _tell(on_lake(lambda lake: _published(lake, entity_id, data_version, dataset, entry_facts)), as_json, _LISTED)


def history(entity_id: EntityId, dataset: _SomeDataset = None, *, as_json: AsJson = False) -> None:
    """Tell in order of time what was published, and retired, of an entity. Exit 4 when something cannot be read."""
    from assets.snapshots.published import read_tombstones, retired
    from cli.snapshots.facts import entry_facts

    def dated(entry: "Entry") -> _Dated:
        return entry.at, entry.coordinate, entry_facts(entry)

    def work(lake: "Lake") -> list[dict[str, Any]]:
        gone = [place for place in retired(lake, entity_id) if dataset in (None, place.dataset)]
        stones = counted(read_tombstones(lake, gone, dated), "tombstones", len(gone))
        buried = {place for _, place, _ in stones}
        there = [found for found in _published(lake, entity_id, None, dataset, dated) if found[1] not in buried]
        told = sorted([*there, *stones], key=lambda found: (found[0] is None, *found[:2]))
        return [facts for _, _, facts in told]

    columns = ("committed_at", "retired_at", "data_version", "dataset", "status", "rows", "bytes", "action", "tenant")
    _tell(on_lake(work), as_json, columns)


def show(entity_id: EntityId, data_version: DataVersion, dataset: Dataset, *, as_json: AsJson = False) -> None:
    """Show one snapshot: schema, statistics, inputs, parameters, checks. Exit 4 when there is none to be read."""
    from assets.snapshots.reader import open_snapshot
    from cli.snapshots.facts import code_of, print_fields, print_table, snapshot_facts
    from contracts.storage import SnapshotError

    place = coordinate(entity_id, data_version, dataset)

    def work(lake: "Lake") -> dict[str, Any]:
        try:
            return snapshot_facts(open_snapshot(lake, place))
        except SnapshotError as error:
            if as_json:
                typer.echo(json.dumps({"status": code_of(error), "error": str(error)}, indent=1))
            raise

    facts = on_lake(work)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    statistics, files = facts.pop("statistics"), facts.pop("data_files")
    print_fields(facts)
    typer.echo()
    print_table(({"column": name, **told} for name, told in statistics.items()), _STATISTICS)
    typer.echo()
    print_table(({**file, "bytes": file["size"]} for file in files), ("name", "rows", "bytes"))


def _published(
    lake: "Lake",
    entity_id: str | None,
    data_version: str | None,
    dataset: str | None,
    tell: "Callable[[Entry], _Told]",
) -> list[_Told]:
    from assets.snapshots.published import committed, read_snapshots

    listed = counted(committed(lake, entity_id, data_version), "listing the lake")
    places = [place for place in listed if dataset in (None, place.dataset)]
    return counted(read_snapshots(lake, places, tell), "commits", len(places))


def _tell(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    from cli.snapshots.facts import print_table

    errors = [row["error"] for row in rows if "error" in row]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        print_table(rows, columns)
        for error in errors:
            typer.echo(error, err=True)
    raise typer.Exit(exits.FOUND if errors else 0)
