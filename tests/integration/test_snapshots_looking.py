"""``lakemill snapshots ls | show | history | verify | diff`` on a real store, whose objects are tampered with."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from assets.snapshots.reader import Snapshot
from assets.snapshots.verify import verify
from contracts.identity import Coordinate
from contracts.storage import commit_key, log_prefix, tombstone_key
from resources.lake.store import S3Lake
from resources.settings import LakeSettings
from tests.integration.memory_lake import tombstone
from tests.parquet_snapshots import parquet, publish
from tests.s3_server import ACCESS_KEY, SECRET_KEY, s3_server

SCHEMA = "id bigint, name string, score double"


@pytest.fixture(scope="module")
def store() -> Iterator[LakeSettings]:
    with s3_server() as settings:
        yield settings


def table(ids: list[int], names: list[str | None], scores: list[float | None]) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "name": names, "score": pa.array(scores, pa.float64())})


TABLES = [table([1, 2], ["a", "b"], [1.0, None]), table([3], ["c"], [float("nan")])]


@dataclass(frozen=True)
class Shell:
    """The commands as an operator has them who holds nothing but the lake's keys; one entity for each test."""

    env: dict[str, str]
    lake: S3Lake
    entity: str

    def place(self, version: str = "v1", dataset: str = "made") -> Coordinate:
        return Coordinate(self.entity, version, dataset)

    def publish(self, version: str = "v1", tables: list[pa.Table] | None = None, **origin: Any) -> Snapshot:
        return publish(self.lake, self.place(version), SCHEMA, TABLES if tables is None else tables, **origin)

    def says(self, *arguments: str, code: int = 0, **env: str) -> str:
        command = [str(Path(sys.executable).parent / "lakemill"), "snapshots", *arguments]
        done = subprocess.run(
            command, env={**self.env, **env}, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr * (not done.stdout)

    def tells(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.says(*arguments, "--json", code=code))

    def shows(self, *arguments: str) -> str:
        """Return what a terminal shows beside the answer."""
        command = [str(Path(sys.executable).parent / "lakemill"), "snapshots", *arguments]
        user, terminal = pty.openpty()
        env = {**self.env, "TERM": "xterm", "COLUMNS": "120"}
        subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=terminal, check=True, timeout=120)
        os.write(terminal, b"\n")  # something to read there is in any case
        shown = os.read(user, 65536).decode()
        os.close(user)
        os.close(terminal)
        return shown


@pytest.fixture
def shell(store: LakeSettings, tmp_path: Path) -> Shell:
    mine = {
        "STATE_DIR": str(tmp_path),
        "S3_ENDPOINT": store.s3_endpoint or "",
        "S3_ACCESS_KEY": ACCESS_KEY,
        "S3_SECRET_KEY": SECRET_KEY,
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("LAKEMILL_")}
    env |= {f"LAKEMILL_{name}": value for name, value in mine.items()}
    return Shell(env, S3Lake(store, "lake"), f"entity-{uuid4().hex}")


def test_ls_show_and_history_tell_what_the_lake_says(shell: Shell) -> None:
    first, second = shell.publish("v1"), shell.publish("v2", action="other")
    (one, two) = shell.tells("ls", shell.entity)
    assert (one["status"], one["rows"], one["files"], one["commit_digest"]) == ("published", 3, 2, first.digest)
    assert (two["data_version"], two["action"]) == ("v2", "other")
    assert shell.tells("ls", shell.entity, "v2", "--dataset", "made") == [two]
    assert shell.tells("ls", shell.entity, "v2", "--dataset", "none") == []

    shown = shell.tells("show", shell.entity, "v1", "made")
    assert shown["statistics"]["id"] == {"nulls": 0, "minimum": 1, "maximum": 3}
    assert shown["statistics"]["score"] == {"nulls": 1, "minimum": None, "maximum": None}
    assert [file["name"] for file in shown["data_files"]] == [file.name for file in first.commit.files]
    assert shown["schema"] == SCHEMA
    assert "score" in shell.says("show", shell.entity, "v1", "made")

    shell.lake.put(tombstone_key(shell.place("v0")), tombstone(shell.place("v0")).encode())
    told = shell.tells("history", shell.entity)
    assert [(each["data_version"], each["status"]) for each in told] == [
        ("v1", "published"),
        ("v2", "published"),
        ("v0", "retired"),
    ]
    assert second.digest == told[1]["commit_digest"]
    assert "retired" in shell.says("history", shell.entity)


def test_what_cannot_be_read_is_told_by_exit_code_and_by_word(shell: Shell) -> None:
    shown = ("show", shell.entity, "v1", "made")
    assert shell.tells(*shown, code=4)["status"] == "missing"
    shell.lake.put(tombstone_key(shell.place()), b"{}")
    assert shell.tells(*shown, code=4)["status"] == "retired"
    shell.lake.delete([tombstone_key(shell.place())])
    shell.lake.put(commit_key(shell.place()), b'{"metaData":{"configuration":{}}}')
    assert shell.tells(*shown, code=4)["status"] == "foreign"
    assert shell.tells("ls", shell.entity, code=4)[0]["status"] == "foreign"
    assert "did not write" in shell.says("verify", shell.entity, "v1", "made", code=4)
    assert "Made" in shell.says("show", shell.entity, "v1", "Made", code=2)
    assert "say it again" in shell.says(*shown, code=5, LAKEMILL_S3_ENDPOINT="http://127.0.0.1:1")
    shell.says("verify", shell.entity, "v9", code=4)


def replaced(shell: Shell, found: Snapshot, change: Callable[[bytes], bytes | None]) -> None:
    first = found.objects[0].key
    body = change(shell.lake.get(first) or b"")
    shell.lake.delete([first])
    if body is not None:
        shell.lake.put(first, body)


def flipped(body: bytes) -> bytes:
    """One bit of a value in a page, as a disk would change it: the string ``a`` becomes another letter."""
    place = body.index(b"\x01\x00\x00\x00a")
    return body[: place + 4] + b"c" + body[place + 5 :]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: None, "is missing"),
        (lambda body: body[:-1], "bytes, the commit says"),
        (lambda body: body + body[-8:], "bytes, the commit says"),
        (lambda _: parquet(table([1, 2, 9], ["a", "b", "z"], [1.0, None, 2.0])), "the commit says"),
        (lambda _: parquet(table([1, 2], ["x", "b"], [1.0, None])), "was replaced"),
        (flipped, "was replaced"),
    ],
    ids=["missing", "truncated", "longer", "a row more", "replaced by one of its size", "a flipped bit"],
)
def test_verify_finds_every_kind_of_tampering(shell: Shell, change: Any, told: str) -> None:
    found = shell.publish()
    assert verify(shell.lake, shell.place(), deep=True).ok
    replaced(shell, found, change)
    for deep in (False, True):
        report = verify(shell.lake, shell.place(), deep=deep)
        assert any(told in problem for problem in report.problems), report


def test_a_deep_look_needs_no_etag_to_find_what_changed_on_the_way(shell: Shell) -> None:
    """As in a lake that was copied by a tool that keeps no ETag: the pages' checksums tell."""
    found = shell.publish()
    lines = (shell.lake.get(commit_key(shell.place())) or b"").splitlines()
    without = [json.loads(line) for line in lines]
    for line in without:
        line.get("add", {}).pop("tags", None)
    shell.lake.delete([commit_key(shell.place())])
    shell.lake.put(commit_key(shell.place()), "\n".join(json.dumps(line) for line in without).encode())
    replaced(shell, found, flipped)
    assert verify(shell.lake, shell.place()).ok
    assert "does not decode" in verify(shell.lake, shell.place(), deep=True).problems[0]


def test_verify_finds_what_follows_the_commit_and_says_so_of_each_snapshot(shell: Shell) -> None:
    shell.publish("v1")
    shell.publish("v2")
    assert "sound" in shell.says("verify", shell.entity, "v1", "made")
    shell.lake.put(f"{log_prefix(shell.place('v2'))}{1:020d}.json", b'{"remove":{}}')
    sound, damaged = shell.tells("verify", shell.entity, "--deep", code=4)
    assert (sound["sound"], sound["problems"], sound["rows"]) == (True, [], 3)
    assert "beside the commit" in damaged["problems"][0]
    assert "NOT SOUND" in shell.says("verify", shell.entity, "v2", code=4)


def test_diff_tells_whether_the_data_differ_and_by_which_rows(shell: Shell) -> None:
    shell.publish("v1")
    shell.publish("v2", list(reversed(TABLES)), params={"least": 1})
    same = shell.tells("diff", shell.entity, "v1", "v2", "made", "--keys", "id")
    assert (same["data"], same["rows"]["same"], same["rows"]["columns"]) == ({}, 3, {})
    assert same["origin"]["params"] == {"old": {}, "new": {"least": 1}}
    shell.publish("v3", [table([1, 2, 4], ["a", None, "d"], [1.0, 2.0, None])])
    assert shell.tells("diff", shell.entity, "v1", "v3", "made", code=4)["data"].keys() == {
        "column id",
        "column name",
    }
    rows = shell.tells("diff", shell.entity, "v1", "v3", "made", "--keys", "id", code=4)["rows"]
    assert (rows["added"], rows["removed"], rows["changed"], rows["same"]) == (1, 1, 1, 1)
    assert rows["columns"] == {"name": 1, "score": 1}
    assert rows["examples"] == {"added": [{"id": 4}], "removed": [{"id": 3}], "changed": [{"id": 2}]}
    assert "changed" in shell.says("diff", shell.entity, "v1", "v3", "made", "--keys", "id", code=4)
    assert "holds nulls" in shell.says("diff", shell.entity, "v1", "v3", "made", "--keys", "name", code=4)
    assert "named twice" in shell.says("diff", shell.entity, "v1", "v3", "made", "--keys", "id,id", code=4)
    assert "no column" in shell.says("diff", shell.entity, "v1", "v3", "made", "--keys", "who", code=4)
    shell.publish("v4", [table([1, 1], ["a", "b"], [1.0, 2.0])])
    assert "share their key" in shell.says("diff", shell.entity, "v4", "v3", "made", "--keys", "id", code=4)
    assert "not published" in shell.says("diff", shell.entity, "v1", "v9", "made", code=4)


def test_what_reads_files_shows_how_many_it_has_read(shell: Shell) -> None:
    shell.publish("v1")
    shell.publish("v2")
    assert "2/2" in shell.shows("verify", shell.entity, "v1", "made")
    assert "4/4" in shell.shows("diff", shell.entity, "v1", "v2", "made", "--keys", "id")
    assert "4/4" not in shell.shows("diff", shell.entity, "v1", "v2", "made")
