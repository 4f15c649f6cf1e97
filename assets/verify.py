"""Proving a snapshot: the commit is well formed, and every file is there with the size, rows and columns it names."""

from dataclasses import dataclass, field

from assets.footers import read_footer
from assets.snapshots import Snapshot, find_snapshot
from contracts.commit import DataFile
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, token_prefix
from resources.lake import Lake, ObjectInfo


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


def verify(lake: Lake, coordinate: Coordinate) -> VerifyReport:
    """Read the commit and the footer of every file. Raises the lake's errors only: damage is in the report."""
    try:
        snapshot = find_snapshot(lake, coordinate)
    except CorruptSnapshotError as error:
        return VerifyReport(coordinate, problems=[str(error)])
    if snapshot is None:
        return VerifyReport(coordinate, problems=[f"{coordinate} is not published"])
    sizes = _sizes(snapshot)
    files = zip(snapshot.commit.files, snapshot.objects, strict=True)
    problems = [problem for file, found in files for problem in _file_problems(snapshot, file, found, sizes)]
    return VerifyReport(coordinate, len(snapshot.commit.files), snapshot.commit.rows, snapshot.digest, problems)


def _sizes(snapshot: Snapshot) -> dict[str, int]:
    # Listing tells every size in one call per thousand files; what is read is still decided by the commit alone.
    folder = token_prefix(snapshot.commit.coordinate, snapshot.commit.provenance.token)
    return {found.key: found.size for found in snapshot.lake.list(folder)}


def _file_problems(snapshot: Snapshot, file: DataFile, found: ObjectInfo, sizes: dict[str, int]) -> list[str]:
    size = sizes.get(found.key)
    if size is None:
        return [f"{file.name} is missing"]
    if size != file.size:
        return [f"{file.name} has {size} bytes, the commit says {file.size}"]
    try:
        footer = read_footer(snapshot.lake, found)
    except CorruptSnapshotError as error:
        return [str(error)]
    problems = []
    if footer.rows != file.rows:
        problems.append(f"{file.name} has {footer.rows} rows, the commit says {file.rows}")
    if difference := snapshot.schema.difference(footer.schema):
        problems.append(f"{file.name}: {difference}")
    return problems
