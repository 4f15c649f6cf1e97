"""The folder that a session keeps its own files in: a killed process leaves it, and the next session removes it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from resources.spark.scratch import new_scratch

_HOLD = """
from resources.spark.scratch import new_scratch

print(new_scratch(), flush=True)
input()
"""


def test_what_a_killed_process_has_left_goes_and_what_a_live_one_uses_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        used = Path(other.stdout.readline().strip())
        assert used.parent == tmp_path
        (used / "blockmgr").mkdir()
        os.utime(used, (0, 0))
        mine = new_scratch()
        assert {*tmp_path.iterdir()} == {used, mine}
        other.kill()
        other.wait()
        os.utime(mine, (0, 0))
        another = new_scratch()
    assert {*tmp_path.iterdir()} == {mine, another}
