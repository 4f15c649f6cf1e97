"""Proving a snapshot: the commit is well formed and nothing follows it, and every file is what the commit says of it.

Each file has its size, its ETag, its rows, its columns, and the null counts and bounds that readers skip rows by.
A deep look decodes every byte and measures them from the rows themselves.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.snapshots.reader import Snapshot, open_snapshot
from assets.tables.decoding import decode
from assets.tables.footers import encode_bound, read_footer
from contracts.commit import DataFile
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, SnapshotError, commit_key, log_prefix
from resources.lake.store import Lake, ObjectInfo

_READERS, _DECODERS = 16, 4
"""Files at once: of a footer little is in memory, of a decoded file everything."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What ``verify`` found. ``problems`` is empty for a sound snapshot."""

    coordinate: Coordinate
    files: int = 0
    rows: int = 0
    digest: str | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the snapshot is sound."""
        return not self.problems


def verify(
    lake: Lake, coordinate: Coordinate, *, deep: bool = False, progress: Callable[[int, int], None] = lambda *_: None
) -> VerifyReport:
    """Read the commit and the footer of every file, or with ``deep`` the whole files.

    ``progress`` hears how many files were looked at, and of how many. Raises the lake's errors only: damage, and that
    nothing is there, is in the report.
    """
    try:
        snapshot = open_snapshot(lake, coordinate)
    except SnapshotError as error:
        return VerifyReport(coordinate, problems=[str(error)])
    report = VerifyReport(coordinate, len(snapshot.commit.files), snapshot.commit.rows, snapshot.digest)
    report.problems.extend(_log_problems(lake, coordinate))
    report.problems.extend(file_problems(snapshot, deep=deep, progress=progress))
    return report


def file_problems(
    snapshot: Snapshot, *, deep: bool = False, progress: Callable[[int, int], None] = lambda *_: None
) -> list[str]:
    """Return what is wrong with the files that the commit names, a sentence each. Raises the lake's errors."""
    files = snapshot.commit.files
    # Listing tells every size and ETag in one call per thousand files; what is read is decided by the commit alone.
    listed = {found.key: found for found in snapshot.lake.list(snapshot.folder)}

    def look(pair: tuple[DataFile, ObjectInfo]) -> list[str]:
        file, named = pair
        return _file_problems(snapshot, file, named, listed.get(named.key), deep=deep)

    found: list[str] = []
    with ThreadPoolExecutor(_DECODERS if deep else _READERS, thread_name_prefix="verify") as pool:
        for done, problems in enumerate(pool.map(look, zip(files, snapshot.objects, strict=True)), 1):
            found += problems
            progress(done, len(files))
    return found


def _log_problems(lake: Lake, coordinate: Coordinate) -> list[str]:
    # Foreign readers take the newest entry of the log, or a checkpoint: what follows the commit changes what they see.
    folder = log_prefix(coordinate)
    strangers = [found.key for found in lake.list(folder) if found.key not in {folder, commit_key(coordinate)}]
    return [f"{lake.url(key)} lies beside the commit, and Delta readers may follow it" for key in strangers]


def _file_problems(
    snapshot: Snapshot, file: DataFile, named: ObjectInfo, listed: ObjectInfo | None, *, deep: bool
) -> list[str]:
    if listed is None:
        return [f"{file.name} is missing"]
    if listed.size != file.size:
        return [f"{file.name} has {listed.size} bytes, the commit says {file.size}"]
    problems = []
    if file.etag is not None and listed.etag is not None and listed.etag != file.etag:
        problems.append(f"{file.name} was replaced: its ETag is {listed.etag}, the commit says {file.etag}")
    try:
        problems += _footer_problems(snapshot, file, named)
        if deep:
            problems += _measured_problems(file, decode(snapshot.lake, named, file.rows, snapshot.schema))
    except CorruptSnapshotError as error:
        problems.append(str(error))
    return problems


def _footer_problems(snapshot: Snapshot, file: DataFile, named: ObjectInfo) -> list[str]:
    footer = read_footer(snapshot.lake, named)
    problems = []
    if footer.rows != file.rows:
        problems.append(f"{file.name} has {footer.rows} rows, the commit says {file.rows}")
    if difference := snapshot.schema.difference(footer.schema):
        problems.append(f"{file.name}: {difference}")
    told = (footer.null_counts, footer.min_values, footer.max_values)
    if not problems and told != (file.null_counts, file.min_values, file.max_values):
        problems.append(f"{file.name} has other null counts or bounds than the commit says")
    return problems


def _measured_problems(file: DataFile, table: pa.Table) -> Iterator[str]:
    for name, count in file.null_counts.items():
        if (found := table[name].null_count) != count:
            yield f"{file.name}: {found} nulls in {name}, the commit says {count}"
    for name in file.min_values:
        try:
            bounds: dict[str, Any] = pc.min_max(table[name]).as_py()
        except OverflowError:  # Python has no such date
            yield f"{file.name}: {name} holds values outside the years 1 to 9999"
            continue
        low, high = encode_bound(bounds["min"]), encode_bound(bounds["max"])
        if (low, high) != (file.min_values[name], file.max_values.get(name)):
            yield f"{file.name}: {name} lies between {low} and {high}, and not where the commit says"
