"""``lakemill keys``: a key is made, works, is listed without its secret, and is revoked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import INTERNAL_SECRET
from tests.integration.control_plane import ControlPlane

pytestmark = pytest.mark.anyio


def _keys(plane: ControlPlane, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "LAKEMILL_STATE_DIR": str(folder),
        "LAKEMILL_INTERNAL_SECRET": INTERNAL_SECRET,
        "LAKEMILL_DATABASE_URL": plane.settings.database_url.get_secret_value(),
    }
    command = [sys.executable, "-c", "from cli.main import app; app()", "keys", *arguments]
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


async def test_mistakes_have_their_exit_codes(plane: ControlPlane, tmp_path: Path) -> None:
    unknown = _keys(plane, tmp_path, "revoke", "nothing")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "lakemill keys ls" in unknown.stderr
    assert _keys(plane, tmp_path, "create", "--tenant", "nobody").returncode == 5
    assert _keys(plane, tmp_path, "webhook-secret").stdout.startswith("whsec_")
