"""Snapshots as JSON tells of them, and as tables for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assets.snapshots.published import Entry
from assets.snapshots.reader import Snapshot
from contracts.storage import SnapshotError
from contracts.tombstone import Tombstone

_CODES = {"MissingSnapshotError": "missing", "RetiredSnapshotError": "retired", "CorruptSnapshotError": "corrupt"}
_CODES |= {"ForeignSnapshotError": "foreign", "NewerSnapshotError": "newer"}


def entry_facts(entry: Entry) -> dict[str, Any]:
    """Return one line of ``ls`` and ``history``; ``status`` is published, retired, corrupt, foreign or newer."""
    told: dict[str, Any] = asdict(entry.coordinate)
    match entry.found:
        case Snapshot() as snapshot:
            return {**told, "status": "published", **_summary(snapshot)}
        case Tombstone() as stone:
            was = stone.artifact.model_dump(mode="json", include={"rows", "bytes", "files", "commit_digest"})
            when = {"committed_at": _moment(stone.artifact.committed_at), "retired_at": _moment(stone.retired_at)}
            return {**told, "status": "retired", **was, **when, "retired_by": stone.retired_by}
        case SnapshotError() as error:
            return {**told, "status": code_of(error), "error": str(error)}


def code_of(error: SnapshotError) -> str:
    """Return the word for what is wrong at a coordinate."""
    return _CODES[type(error).__name__]


def snapshot_facts(snapshot: Snapshot) -> dict[str, Any]:
    """Return everything that ``show`` tells."""
    origin = snapshot.commit.provenance.model_dump(mode="json")
    return {
        **asdict(snapshot.commit.coordinate),
        "url": snapshot.url,
        **_summary(snapshot),
        "schema": str(snapshot.schema),
        "statistics": {name: asdict(told) for name, told in snapshot.statistics.items()},
        **{name: value for name, value in origin.items() if value is not None},
        "data_files": [file.model_dump(include={"name", "size", "rows", "etag"}) for file in snapshot.commit.files],
    }


def _summary(snapshot: Snapshot) -> dict[str, Any]:
    commit = snapshot.commit
    return {
        "rows": commit.rows,
        "bytes": commit.size_bytes,
        "files": len(commit.files),
        "commit_digest": snapshot.digest,
        "committed_at": _moment(commit.committed_at),
        "action": commit.provenance.action,
        "tenant": commit.provenance.tenant,
        "process_id": str(commit.provenance.process_id) if commit.provenance.process_id else None,
    }


def _moment(at: Any) -> str:
    return str(at.isoformat(timespec="seconds"))


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print one line for each row; numbers to the right."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    numbers = {"rows", "bytes", "files"}
    for column in columns:
        grid.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(_cell(row.get(column))) for column in columns))
    Console(highlight=False).print(grid)


def print_fields(facts: Mapping[str, Any]) -> None:
    """Print one line for each fact; what is nested as JSON."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in (None, {}, []):
            grid.add_row(name, Text(_cell(value)))
    Console(highlight=False).print(grid)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case int():
            return f"{value:,}"
        case str():
            return value
        case _:
            return json.dumps(value)
