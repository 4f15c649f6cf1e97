"""``verify`` where only the content tells: a lake without ETags, and a commit that has the changed file's size."""

import json
import struct
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.snapshots.verify import verify
from contracts.identity import Coordinate
from contracts.storage import commit_key
from resources.lake.folder import FileLake
from tests.parquet_snapshots import parquet, publish

HOME = Coordinate("cust_1", "v1", "made")
NUMBERS = [1_000_001, 1_000_002, 1_000_003]


def table(ids: Sequence[int | None], names: Sequence[str]) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "name": names})


DDL, ROWS = "id bigint, name string", table(NUMBERS, ["a", "b", "c"])


def rewritten(lake: FileLake, change: Callable[[dict[str, Any]], None]) -> None:
    """Change each ``add`` of the commit."""
    lines = [json.loads(line) for line in (lake.get(commit_key(HOME)) or b"").splitlines()]
    for line in lines:
        if "add" in line:
            change(line["add"])
    lake.delete([commit_key(HOME)])
    lake.put(commit_key(HOME), b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def exchanged(tmp_path: Path, body: bytes, ddl: str = DDL, rows: pa.Table = ROWS) -> FileLake:
    """Publish a snapshot, and put another file in the place of its own; the commit has that one's size and no ETag."""
    lake = FileLake(tmp_path)
    found = publish(lake, HOME, ddl, [rows])
    (file,) = found.objects
    lake.delete([file.key])
    lake.put(file.key, body)

    def believe(add: dict[str, Any]) -> None:
        add["size"] = len(body)
        add.pop("tags", None)

    rewritten(lake, believe)
    return lake


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (table([*NUMBERS, 1_000_004], ["a", "b", "c", "d"]), "has 4 rows, the commit says 3"),
        (table([*NUMBERS[:2], None], ["a", "b", "c"]), "has other null counts or bounds than the commit says"),
        (table([*NUMBERS[:2], 9], ["a", "b", "c"]), "has other null counts or bounds than the commit says"),
        (table(NUMBERS, ["a", "b", "c"]).drop_columns("name"), "missing columns: ['name']"),
    ],
    ids=["a row more", "a null", "another value", "a column less"],
)
def test_rows_columns_nulls_and_bounds_are_compared(tmp_path: Path, other: pa.Table, told: str) -> None:
    lake = exchanged(tmp_path, parquet(other))
    (problem,) = verify(lake, HOME).problems
    assert problem.startswith("part-00000.parquet")
    assert told in problem


def test_a_deep_look_measures_what_the_footer_only_tells(tmp_path: Path) -> None:
    """Values are exchanged in a page without a checksum; the footer goes on telling of the old ones."""
    body = parquet(table(NUMBERS, ["a", "b", "c"]), compression="none", use_dictionary=False, write_page_checksum=False)
    page = struct.pack("<3q", *NUMBERS)
    assert body.count(page) == 1
    lake = exchanged(tmp_path, body.replace(page, struct.pack("<3q", 7, *NUMBERS[1:])))
    assert verify(lake, HOME).ok
    (problem,) = verify(lake, HOME, deep=True).problems
    assert problem.endswith("id lies between 7 and 1000003, and not where the commit says")


def test_statistics_of_a_column_that_is_not_there_are_a_corrupt_commit(tmp_path: Path) -> None:
    lake = FileLake(tmp_path)
    publish(lake, HOME, DDL, [ROWS])

    def lie(add: dict[str, Any]) -> None:
        add["stats"] = json.dumps(json.loads(add["stats"]) | {"nullCount": {"who": 0}})

    rewritten(lake, lie)
    (problem,) = verify(lake, HOME, deep=True).problems
    assert "statistics of 'who'" in problem


@pytest.mark.parametrize("deep", [False, True])
def test_a_day_that_is_too_late_is_a_problem_and_no_end_of_the_proof(tmp_path: Path, deep: bool) -> None:
    """As a footer tells it, and where only the rows do: those are changed, and the footer goes on telling of others."""
    last, too_late = (struct.pack("<i", (date.max - date(1970, 1, 1)).days + more) for more in (0, 1))
    days = pa.table({"day": [date.max]})
    body = parquet(days, compression="none", use_dictionary=False, write_page_checksum=False)
    end = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    footer = body[end:] if deep else body[end:].replace(last, too_late)
    lake = exchanged(tmp_path, body[:end].replace(last, too_late) + footer, "day date", days)
    (problem,) = verify(lake, HOME, deep=deep).problems
    assert problem.endswith("holds values outside the years 1 to 9999")
