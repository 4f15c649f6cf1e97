"""``lakemill snapshots …`` as an administrator's shell runs it: killed (-9) anywhere and said again; its exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select

from contracts.identity import new_token
from contracts.storage import commit_key, token_prefix, tombstone_key
from control.recovery.tables import recovery
from control.tables import entities, snapshots
from control.tenancy.tables import admin_log
from resources.settings import LakeSettings
from tests.integration.conftest import INTERNAL_SECRET
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.store_lake import StoreLake
from tests.s3_server import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.anyio
LAKEMILL = str(Path(sys.executable).parent / "lakemill")
HERE = place()
RETIRE = ("retire", HERE.entity_id, HERE.data_version, HERE.dataset)
MANY = 150


@dataclass(frozen=True, slots=True)
class Shell:
    """Commands on one control plane, with the shortest permits there are."""

    env: dict[str, str]
    faults: Path

    def run(self, *arguments: str, code: int = 0, **env: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [LAKEMILL, "snapshots", *arguments],
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def answers(self, word: str, *arguments: str) -> str:
        """Run a command at a terminal where somebody types ``word``, and refuses by it; return what was said."""
        user, terminal = pty.openpty()
        os.write(user, f"{word}\n".encode())
        command = [LAKEMILL, "snapshots", *arguments]
        asked = subprocess.run(command, env=self.env, stdin=terminal, capture_output=True, text=True, check=False)
        os.close(user)
        os.close(terminal)
        assert asked.returncode == 1, asked.stderr
        return asked.stdout

    def killed_at(self, point: str, *arguments: str) -> None:
        (self.faults / point).write_text("kill")
        self.run(*arguments, code=-signal.SIGKILL)

    def found(self, code: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("rebuild", "--json", code=code).stdout)
        return document


@pytest.fixture
def shell(plane: ControlPlane, lake: StoreLake, store: LakeSettings, tmp_path: Path) -> Shell:
    mine = {
        "STATE_DIR": str(tmp_path),
        "FAULTS_DIR": str(tmp_path),
        "DATABASE_URL": plane.settings.database_url.get_secret_value(),
        "INTERNAL_SECRET": INTERNAL_SECRET,
        "LAKE_BUCKET": lake.bucket,
        "S3_ENDPOINT": store.s3_endpoint or "",
        "S3_ACCESS_KEY": ACCESS_KEY,
        "S3_SECRET_KEY": SECRET_KEY,
        "PERMIT_SECONDS": "5",
        "CLOCK_SKEW_SECONDS": "0",
    }
    return Shell({**os.environ, **{f"LAKEMILL_{name}": value for name, value in mine.items()}}, tmp_path)


async def published(plane: ControlPlane) -> UUID:
    process_id = await plane.running()
    plane.lake.commit(HERE, process_id)
    assert (await plane.report(process_id, "succeeded")).status_code == 200
    return process_id


async def test_retire_killed_at_each_step_and_said_again(plane: ControlPlane, lake: StoreLake, shell: Shell) -> None:
    process_id = await published(plane)
    (row,) = await plane.rows(snapshots)
    folder = token_prefix(HERE, row["token"])
    for number in range(MANY):
        lake.put(f"{folder}more-{number}", b"x")
    whole = lake.stored()

    shell.killed_at("T1", *RETIRE, "--yes")  # said in the database
    (row,) = await plane.rows(snapshots)
    retired_at = row["retired_at"]
    assert retired_at is not None
    assert lake.stored() == whole
    assert (await plane.submit()).json()["code"] == "version_retired"

    shell.killed_at("T2", *RETIRE, "--yes")  # and in the lake
    assert lake.stored() == {*whole, tombstone_key(HERE)}

    shell.killed_at("T3", *RETIRE, "--yes")  # the commit is gone
    assert lake.stored() == {*whole, tombstone_key(HERE)} - {commit_key(HERE)}

    shell.killed_at("T4", *RETIRE, "--yes")  # and some of the files
    assert 0 < len(lake.stored(folder)) < MANY

    told = shell.run(*RETIRE, "--yes")
    assert lake.stored() == {tombstone_key(HERE)}
    assert "is retired; " in told.stdout
    assert "Waiting" in told.stderr, "whoever was cut off may not have waited"
    (row,) = await plane.rows(snapshots)
    assert (row["retired_at"], row["process_id"]) == (retired_at, process_id)
    lines = await plane.rows(select(admin_log).where(admin_log.c.kind.startswith("snapshot_")).order_by(admin_log.c.id))
    assert [line["kind"] for line in lines] == ["snapshot_retired", "snapshot_removed"]
    assert {line["actor"].split(":")[0] for line in lines} == {"cli"}
    shell.run(*RETIRE, "--yes")
    assert lake.stored() == {tombstone_key(HERE)}


async def test_retire_asks_and_takes_no_for_an_answer(plane: ControlPlane, lake: StoreLake, shell: Shell) -> None:
    await published(plane)
    before = lake.stored()
    assert "--yes" in shell.run(*RETIRE, code=2).stderr
    said = shell.answers("n", *RETIRE)
    assert ("3 rows" in said, "for ever?" in said) == (True, True)
    assert lake.stored() == before
    assert (await plane.get("/v1/snapshots/cust_8842/v1/raw")).json()["retired_at"] is None


async def test_the_exit_codes_of_retire(plane: ControlPlane, lake: StoreLake, shell: Shell) -> None:
    assert "Raw" in shell.run("retire", "cust_8842", "v1", "Raw", "--yes", code=2).stderr
    assert "nothing is published" in shell.run(*RETIRE, "--yes", code=4).stderr
    process_id = await plane.running()
    lake.commit(HERE, process_id)
    assert str(process_id) in shell.run(*RETIRE, "--yes", code=4).stderr
    await plane.report(process_id, "succeeded")
    told = shell.run(*RETIRE, "--yes", code=5, LAKEMILL_S3_ENDPOINT="http://127.0.0.1:1")
    assert "say it again" in told.stderr
    assert SECRET_KEY not in told.stderr
    shell.run(*RETIRE, "--yes", code=5, LAKEMILL_DATABASE_URL="postgresql+asyncpg://u:canary@127.0.0.1:1/none")
    assert commit_key(HERE) in lake.stored()


async def test_rebuild_killed_at_each_step_and_said_again(plane: ControlPlane, lake: StoreLake, shell: Shell) -> None:
    await published(plane)
    lake.commit(place(data_version="v2"), uuid4())
    shell.run("retire", "cust_8842", "v2", "raw", "--yes")
    ordered = select(snapshots).order_by(snapshots.c.data_version)
    before = await plane.rows(ordered), await plane.rows(entities.select().with_only_columns(entities.c.entity_id))
    async with plane.db.transaction() as conn:
        await conn.execute(delete(snapshots))
        await conn.execute(delete(entities))
    for point, known in (("V1", 0), ("V2", 1), ("V3", 2)):
        shell.killed_at(point, "rebuild")
        assert len(await plane.rows(snapshots)) == known
        assert len(await plane.rows(recovery)) == 1
        refused = await plane.submit(data_version="v9")
        assert (refused.status_code, refused.json()["code"]) == (503, "recovering")
    found = shell.found()
    assert (found["is_over"], found["snapshots"], found["retired"], found["owners"]) == (True, 1, 1, 1)
    owned = await plane.rows(entities.select().with_only_columns(entities.c.entity_id))
    assert (await plane.rows(ordered), owned) == before
    assert (await plane.submit(data_version="v9")).status_code == 202


async def test_what_rebuild_tells_people_and_scripts(plane: ControlPlane, lake: StoreLake, shell: Shell) -> None:
    await published(plane)
    lake.put(commit_key(place(data_version="v2")), b"{}")
    lake.commit(place(entity_id="e-1"), uuid4(), tenant="nobody-knows")
    told = shell.run("rebuild", code=4)
    for words in ("2 snapshots are in the index, 1 were missing", "cust_8842/v2/raw: ", "nobody-knows: e-1", "refused"):
        assert words in told.stdout, told.stdout
    assert "Waiting" in told.stderr
    assert shell.found(code=4)["unknown_tenants"] == {"nobody-knows": ["e-1"]}
    down = shell.run("rebuild", code=5, LAKEMILL_S3_ENDPOINT="http://127.0.0.1:1")
    assert "say it again" in down.stderr
    lake.delete([commit_key(place(entity_id="e-1")), commit_key(place(data_version="v2"))])
    found = shell.found(code=4)  # what a hand has removed is told
    assert (found["missing"], found["is_over"]) == (["e-1/v1/raw"], True)


async def test_gc_looks_asks_and_leaves_what_is_young(plane: ControlPlane, lake: StoreLake, shell: Shell) -> None:
    await published(plane)
    lake.put(f"{token_prefix(HERE, new_token(str(uuid4()), 1))}part-0.parquet", b"x")
    before = lake.stored()
    assert "--dry-run" in shell.run("gc", code=2).stderr
    found = json.loads(shell.run("gc", "--dry-run", "--json").stdout)
    assert found == {"kept": {"young": 2}, "garbage": [], "removed": 0}
    assert "0 were removed" in shell.run("gc", "cust_8842", "--yes").stdout
    shell.run("gc", "--yes", code=5, LAKEMILL_S3_ENDPOINT="http://127.0.0.1:1")
    assert lake.stored() == before
