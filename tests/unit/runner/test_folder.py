"""The audit of the token folder: anything but one finished job of the magic committer is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import CommitterError
from contracts.reasons import ReasonCode
from contracts.reports import Event
from tests.arrow_session import magic_write
from tests.unit.runner.bench import Bench


def without_marker(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    (folder / "_SUCCESS").unlink()


def empty_marker(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    (folder / "_SUCCESS").write_bytes(b"")


def broken_marker(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    (folder / "_SUCCESS").write_bytes(b"magic")


def other_committer(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    marker = json.loads((folder / "_SUCCESS").read_text())
    (folder / "_SUCCESS").write_text(json.dumps(marker | {"committer": "directory"}))


def foreign_file(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    pq.write_table(table, folder / "part-00001-x.parquet")


def leftover(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    (folder / "__magic_job").mkdir()
    (folder / "__magic_job" / "part.pendingset").write_text("{}")


def lost_file(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    next(folder.glob("*.parquet")).unlink()


def changed_size(folder: Path, table: pa.Table) -> None:
    magic_write(folder, table)
    file = next(folder.glob("*.parquet"))
    file.write_bytes(b"x" + file.read_bytes())


def cut_file(folder: Path, _table: pa.Table) -> None:
    wide = pa.table({"month": ["a"] * 10, "orders": list(range(10))})
    magic_write(folder, wide)
    file = next(folder.glob("*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(b"\0" * 20 + whole[: len(whole) - 20])  # the same size, without an end


def other_columns(folder: Path, _table: pa.Table) -> None:
    magic_write(folder, pa.table({"month": ["a"], "orders": [1.5]}))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (without_marker, "_SUCCESS is missing"),
        (empty_marker, "_SUCCESS is empty"),
        (broken_marker, "not JSON"),
        (other_committer, "does not name the magic committer"),
        (foreign_file, "2 data files are listed, _SUCCESS names 1"),
        (leftover, "pendingset"),
        (lost_file, "0 data files"),
        (changed_size, "bytes are listed"),
        (cut_file, "cannot be read back"),
        (other_columns, "orders double instead of orders bigint"),
    ],
)
def test_a_folder_that_is_not_one_finished_job_is_refused(
    bench: Bench, write: Callable[[Path, pa.Table], None], words: str
) -> None:
    bench.sessions.session.write = write
    with pytest.raises(CommitterError, match=words):
        bench.run()
    assert bench.failure.code is ReasonCode.SPARK_UNAVAILABLE
    assert Event.COMMITTING not in bench.control.events
    assert bench.published() is None
