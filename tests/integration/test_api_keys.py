"""``lakemill keys``: a key is made, works, is listed without its secret, and is revoked."""

import getpass
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from sqlalchemy import select

from control.tenancy.tables import api_keys
from tests.integration.conftest import INTERNAL_SECRET
from tests.integration.control_plane import ControlPlane

pytestmark = pytest.mark.anyio
_Done: TypeAlias = subprocess.CompletedProcess[str]


def _keys(plane: ControlPlane, folder: Path, *arguments: str) -> _Done:
    return _lakemill(plane, folder, "keys", *arguments)


def _lakemill(plane: ControlPlane, folder: Path, *arguments: str, **variables: str) -> _Done:
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "LAKEMILL_STATE_DIR": str(folder),
        "LAKEMILL_INTERNAL_SECRET": INTERNAL_SECRET,
        "LAKEMILL_DATABASE_URL": plane.settings.database_url.get_secret_value(),
        **variables,
    }
    command = [sys.executable, "-c", "from cli.main import app; app()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


async def test_the_life_of_a_key(plane: ControlPlane, tmp_path: Path) -> None:
    made = _keys(plane, tmp_path, "create", "--scope", "read", "--expires-days", "1", "--quiet")
    key = made.stdout.strip()
    assert made.stdout == f"{key}\n"
    headers = {"Authorization": f"Bearer {key}"}
    assert (await plane.http.get("/v1/processes", headers=headers)).status_code == 200
    listed = _keys(plane, tmp_path, "ls").stdout
    prefix, secret = key[3:15], key[16:]
    assert prefix in listed
    assert secret not in listed
    assert _keys(plane, tmp_path, "revoke", prefix).returncode == 0
    assert (await plane.http.get("/v1/processes", headers=headers)).status_code == 401


async def test_a_rotated_key_works_beside_the_old_one_for_a_while(plane: ControlPlane, tmp_path: Path) -> None:
    old = _keys(plane, tmp_path, "create", "--scope", "read", "--quiet").stdout.strip()
    new = _keys(plane, tmp_path, "rotate", old[3:15]).stdout.strip()
    now = _keys(plane, tmp_path, "rotate", new[3:15], "--overlap-hours", "0").stdout.strip()
    codes = {old: 200, new: 401, now: 200}
    for key, code in codes.items():
        answer = await plane.http.get("/v1/processes", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == code
    assert (await plane.post("/v1/processes", {"Authorization": f"Bearer {now}"}, {})).status_code == 403
    assert "no valid key" in _keys(plane, tmp_path, "rotate", new[3:15]).stderr


async def test_what_replaces_a_key_lives_as_long_as_it_was_made_for(plane: ControlPlane, tmp_path: Path) -> None:
    """Also when the first replacement got lost, and the key is rotated again in its last hours."""
    for made_for, lives in (((), None), (("--expires-days", "9"), timedelta(days=9))):
        old = _keys(plane, tmp_path, "create", *made_for, "--quiet").stdout.strip()
        for _ in range(2):
            new = _keys(plane, tmp_path, "rotate", old[3:15]).stdout.strip()
            (row,) = await plane.rows(select(api_keys).where(api_keys.c.prefix == new[3:15]))
            assert (row["expires_at"] and row["expires_at"] - row["created_at"]) == lives


async def test_tenants_from_the_command_line(plane: ControlPlane, tmp_path: Path) -> None:
    def tenants(*arguments: str) -> _Done:
        return _lakemill(plane, tmp_path, "tenants", *arguments)

    assert tenants("create", "acme", "--pattern", "acme-*", "--limits", '{"in_flight": 5}').returncode == 0
    assert "already" in tenants("create", "acme").stderr
    changed = tenants("set", "acme", "--limits", '{"weight": 3}')
    assert json.loads(changed.stdout)["limits"]["weight"] == 3
    assert json.loads(changed.stdout)["entity_pattern"] == "acme-*"
    assert "acme-*" in tenants("ls").stdout
    for wrong in ('{"weight": 0}', '{"speed": 1}', "{"):
        assert tenants("set", "acme", "--limits", wrong).returncode == 2
    assert "weight: greater_than_equal: " in tenants("set", "acme", "--limits", '{"weight": 0}').stderr
    assert "nobody has" in tenants("share", "rates", "acme").stderr
    assert tenants("give", "rates", "acme").returncode == 0
    assert tenants("share", "rates", "*").stdout == "rates is shared with *.\n"
    assert "no tenant 'no'" in tenants("give", "rates", "no").stderr
    _keys(plane, tmp_path, "create", "--tenant", "acme", "--quiet")
    lines = [line.split() for line in tenants("log", "--count", "5").stdout.splitlines()]
    kinds = ["key_created", "entity_shared", "entity_given", "tenant_changed", "tenant_created"]
    assert [line[2] for line in lines] == kinds
    assert {(line[1], line[3]) for line in lines} == {(f"cli:{getpass.getuser()}", "acme")}


async def test_mistakes_have_their_exit_codes(plane: ControlPlane, tmp_path: Path) -> None:
    for verb in ("revoke", "rotate"):
        unknown = _keys(plane, tmp_path, verb, "nothing")
        assert (unknown.returncode, unknown.stdout) == (4, "")
        assert "lakemill keys ls" in unknown.stderr
    for command in ("keys create --tenant nobody", "tenants set nobody", "tenants give rates nobody"):
        unknown = _lakemill(plane, tmp_path, *command.split())
        assert (unknown.returncode, unknown.stdout) == (4, "")
        assert "no tenant 'nobody'; 'lakemill tenants ls' shows them, 'lakemill tenants create' makes" in unknown.stderr
    away = _lakemill(
        plane, tmp_path, "keys", "ls", LAKEMILL_DATABASE_URL="postgresql+asyncpg://mill:x@127.0.0.1:9/mill"
    )
    assert (away.returncode, "say it again" in away.stderr) == (5, True), away.stderr
    assert _keys(plane, tmp_path, "webhook-secret").stdout.startswith("whsec_")
