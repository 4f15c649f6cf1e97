"""What differs between two snapshots of one dataset: by what their commits say, or row by row over key columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.snapshots.reader import ColumnStatistics, Snapshot
from assets.tables.footers import OutOfRangeError
from assets.tables.schema import spelled_type
from contracts.problems import LakemillError

_EXAMPLES = 5
_OLD, _NEW = "old.row", "new.row"  # a column's name has no dot


class KeyColumnsError(LakemillError):
    """The key columns do not name rows of both. Name others.

    One is unknown, named twice, nested, of another type in the other snapshot, or holds nulls; or rows share a key.
    """


@dataclass(frozen=True, slots=True)
class CommitDifference:
    """Fact → its old and its new value. ``data`` says that the tables differ; ``origin`` only where they come from."""

    data: dict[str, tuple[Any, Any]]
    origin: dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class RowDifference:
    """Rows by their keys. ``columns``: column → in how many of the changed rows it differs."""

    added: int
    removed: int
    changed: int
    same: int
    columns: dict[str, int]
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """``added``, ``removed``, ``changed`` → the keys of some such rows."""

    @property
    def is_none(self) -> bool:
        """Whether the rows are the same."""
        return not (self.added or self.removed or self.changed)


def compare_commits(old: Snapshot, new: Snapshot) -> CommitDifference:
    """Return what the commits say differently, without reading a row.

    Null counts and bounds differ only where both commits know them: how rows lie in files decides what one can say.
    """
    return CommitDifference(_differing(_data(old, new), _data(new, old)), _differing(_origin(old), _origin(new)))


def compare_rows(
    old: Snapshot, new: Snapshot, keys: Sequence[str], *, progress: Callable[[int, int], None] = lambda *_: None
) -> RowDifference:
    """Compare all rows, both tables in memory. Nulls are equal to nulls, NaN to NaN, and -0.0 to 0.0, in keys too.

    Columns that only one of them has, or that have another type, are left out: ``compare_commits`` tells of them.
    ``progress`` hears how many files were read, and of how many. Raises KeyColumnsError, CorruptSnapshotError
    (OutOfRangeError for years in keys or nested columns that no snapshot may hold) and the lake's errors.
    """
    _refuse(old, new, keys)
    files = len(old.commit.files) + len(new.commit.files)
    read = iter(range(1, files + 1))
    left, right = (_keyed(each, keys, lambda: progress(next(read), files)) for each in (old, new))
    shared = [name for name in left.column_names if name not in keys and _type(left, name) == _type(right, name)]
    joined = _rows(left, keys, _OLD).join(_rows(right, keys, _NEW), list(keys), join_type="full outer")
    was, is_there = (pc.is_valid(joined[side]) for side in (_OLD, _NEW))
    both = pc.and_(was, is_there)
    differing = {
        name: pc.and_(both, _differs(name, left[name].take(joined[_OLD]), right[name].take(joined[_NEW])))
        for name in shared
    }
    changed = pa.chunked_array([pa.repeat(pa.scalar(value=False), joined.num_rows)])
    for mask in differing.values():
        changed = pc.or_(changed, mask)
    masks = {"added": pc.invert(was), "removed": pc.invert(is_there), "changed": changed}
    counts = {name: _count(mask) for name, mask in masks.items()}
    chosen = joined.select(list(keys))
    return RowDifference(
        **counts,
        same=_count(both) - counts["changed"],
        columns={name: count for name, mask in differing.items() if (count := _count(mask))},
        examples={name: _in_python("a key", chosen.filter(mask).slice(0, _EXAMPLES)) for name, mask in masks.items()},
    )


def _data(snapshot: Snapshot, other: Snapshot) -> dict[str, Any]:
    others = other.statistics
    columns = {f"column {name}": _known(told, others.get(name, told)) for name, told in snapshot.statistics.items()}
    return {"schema": str(snapshot.schema), "rows": snapshot.commit.rows, **columns}


def _known(told: ColumnStatistics, other: ColumnStatistics) -> dict[str, Any]:
    return {name: value for name, value in asdict(told).items() if None not in (value, getattr(other, name))}


def _origin(snapshot: Snapshot) -> dict[str, Any]:
    told = snapshot.commit.provenance.model_dump(
        mode="json", include={"action", "action_digest", "inputs", "params", "checks"}
    )
    return {"files": len(snapshot.commit.files), "bytes": snapshot.commit.size_bytes, **told}


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*old, *(name for name in new if name not in old)]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _refuse(old: Snapshot, new: Snapshot, keys: Sequence[str]) -> None:
    """Raise KeyColumnsError for keys that the schemas rule out."""
    if repeated := [name for name in dict.fromkeys(keys) if keys.count(name) > 1]:
        raise KeyColumnsError(f"{', '.join(repeated)} is named twice as a key")
    for where, schema in ((each.commit.coordinate, each.schema) for each in (old, new)):
        if unknown := [name for name in keys if name not in schema.names]:
            raise KeyColumnsError(f"{where} has no column {', '.join(unknown)}; it has {', '.join(schema.names)}")
        if nested := [name for name in keys if name in schema.nested]:
            raise KeyColumnsError(f"{where}: {', '.join(nested)} is nested, and cannot be a key")
    for name in keys:
        was, is_now = (spelled_type(each.schema.type_of(name)) for each in (old, new))
        if was != is_now:
            raise KeyColumnsError(f"{name} was {was} and is {is_now}: keys of two types are not compared")


def _keyed(snapshot: Snapshot, keys: Sequence[str], heard: Callable[[], None]) -> pa.Table:
    where = snapshot.commit.coordinate
    table = snapshot.to_arrow(heard)
    for place, name in enumerate(table.column_names):
        if name in keys and pa.types.is_floating(table[name].type):
            table = table.set_column(place, name, _as_key(table[name]))
    if nulls := [name for name in keys if table[name].null_count]:
        raise KeyColumnsError(f"{where}: {', '.join(nulls)} holds nulls, and cannot be a key")
    if shared := table.num_rows - table.group_by(list(keys)).aggregate([]).num_rows:
        raise KeyColumnsError(f"{where}: {shared} rows share their key ({', '.join(keys)}) with another")
    return table


def _as_key(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats with one spelling of zero and of NaN: Arrow groups and joins them by their bits."""
    zero, nan = (pa.scalar(value, numbers.type) for value in (0.0, float("nan")))
    return pc.if_else(pc.is_nan(numbers), nan, pc.add(numbers, zero))


def _type(table: pa.Table, name: str) -> Any:
    return table.schema.field(name).type if name in table.column_names else None


def _rows(table: pa.Table, keys: Sequence[str], side: str) -> pa.Table:
    # A join takes no nested columns. The number of a row tells, after it, whether and where the row was on that side.
    return table.select(list(keys)).append_column(side, pa.array(range(table.num_rows), pa.int64()))


def _differs(name: str, old: pa.ChunkedArray, new: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_nested(old.type):
        pairs = zip(_in_python(name, old), _in_python(name, new), strict=True)
        return pa.chunked_array([pa.array([not _same(*pair) for pair in pairs], pa.bool_())])
    differs = pc.or_(pc.xor(pc.is_null(old), pc.is_null(new)), pc.fill_null(pc.not_equal(old, new), fill_value=False))
    if pa.types.is_floating(old.type):
        both_nan = pc.fill_null(pc.and_(pc.is_nan(old), pc.is_nan(new)), fill_value=False)
        return pc.and_not(differs, both_nan)
    return differs


def _in_python(name: str, values: pa.ChunkedArray | pa.Table) -> list[Any]:
    try:
        return list(values.to_pylist())
    except OverflowError as error:  # it was published before such years were refused
        raise OutOfRangeError(f"{name} holds values outside the years 1 to 9999, and cannot be compared") from error


def _same(old: Any, new: Any) -> bool:
    """Whether two values of one nested type are equal, whatever the order of a map's keys.

    Arrow gives a struct as a dictionary, an array as a list, and a map as a list of tuples: nothing else is a tuple.
    """
    match old, new:
        case [tuple(), *_], [tuple(), *_]:
            return _same(_by_key(old), _by_key(new))
        case dict(), dict():
            return old.keys() == new.keys() and all(_same(value, new[name]) for name, value in old.items())
        case list(), list():
            return len(old) == len(new) and all(map(_same, old, new))
        case _:
            return bool(old == new or (old != old and new != new))  # noqa: PLR0124 - NaN


def _by_key(entries: list[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """Return the values of a map by their keys. A key that stands in it twice, which none should, has two values."""
    found: dict[Any, list[Any]] = {}
    for key, value in entries:
        found.setdefault("NaN" if key != key else key, []).append(value)  # noqa: PLR0124 - equal to itself here
    return found


def _count(mask: pa.ChunkedArray) -> int:
    return pc.sum(mask).as_py() or 0
