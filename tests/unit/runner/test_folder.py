"""The audit of what lies at the coordinate: one finished job of the magic committer, and nothing beside it."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import ActionContractError, AlreadyPublishedError, CommitterError
from contracts.identity import new_token
from contracts.reasons import ReasonCode
from contracts.reports import Event
from contracts.storage import dataset_prefix, log_prefix, token_prefix
from resources.lake.store import LakeAccessError
from tests.arrow_session import ArrowFrame, magic_write
from tests.unit.runner.bench import Bench, Compute


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


def writes(bench: Bench, *keys: str) -> Compute:
    """Return an action's code that stores a file at each of ``keys`` before it returns its result."""

    def compute() -> ArrowFrame:
        for key in keys:
            bench.lake.put(key, b"x")
        return bench.frame()

    return compute


def test_files_beside_the_result_end_the_attempt_and_are_removed(bench: Bench) -> None:
    home, log = dataset_prefix(bench.home), log_prefix(bench.home)
    of_another = token_prefix(bench.home, new_token(str(bench.process_id), 7)) + "unlike-any-data-file"
    strays = [f"{home}elsewhere/part-0.parquet", f"{home}notes.txt", f"{home}part-0.parquet"]
    in_log = f"{log}{1:020d}.json"
    beside = f"{home.rstrip('/')}_of_others/part-0.parquet"
    with pytest.raises(ActionContractError, match="written beside its result"):
        bench.run(bench.action(writes(bench, *strays, in_log, of_another, beside)))
    assert bench.failure.code is ReasonCode.ACTION_CONTRACT
    assert all(key in bench.failure.message for key in (*strays, in_log))
    assert Event.COMMITTING not in bench.control.events
    left = {found.key for found in bench.lake.inner.list("") if "part-00000" not in found.key}
    own = next(key for key in left if key.endswith("_SUCCESS"))
    assert left == {own, in_log, of_another, beside}
    bench.lake.delete([in_log])
    bench.run(member=bench.member(attempt=2))
    assert bench.published() is not None


@pytest.mark.parametrize("name", ["notes.txt", "_delta_log/00000000000000000010.checkpoint.parquet"])
def test_what_lay_at_the_coordinate_before_is_kept_and_nothing_is_computed(bench: Bench, name: str) -> None:
    there = f"{dataset_prefix(bench.home)}{name}"
    bench.lake.put(there, b"somebody's")
    with pytest.raises(AlreadyPublishedError, match=f"something else lies at the coordinate. Files: 1: {there}"):
        bench.run()
    assert bench.failure.code is ReasonCode.VERSION_ALREADY_PUBLISHED
    assert [found.key for found in bench.lake.inner.list("")] == [there]
    assert bench.sessions.profiles == []


def test_files_that_may_not_be_removed_are_named_all_the_same(bench: Bench) -> None:
    bench.lake.keeps = LakeAccessError("403 AccessDenied")
    stray = f"{dataset_prefix(bench.home)}notes.txt"
    with pytest.raises(ActionContractError):
        bench.run(bench.action(writes(bench, stray)))
    assert bench.failure.code is ReasonCode.ACTION_CONTRACT
    assert f"which this run could not remove (403 AccessDenied): {stray}" in bench.failure.message
    assert bench.published() is None


def test_the_coordinate_is_listed_before_the_work_and_after_it(bench: Bench) -> None:
    bench.run()
    assert bench.lake.listed == [dataset_prefix(bench.home)] * 2
