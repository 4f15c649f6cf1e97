"""Twenty servers killed at random under load: the bench ``crash``, smaller. Its seed is shown when it fails."""

import os
import secrets
from pathlib import Path

from bench.kills.producer import MOST_UNDER_WAY
from bench.kills.run import kill_under_load
from tests.e2e.conftest import SHORT_BOUNDS

KILLS = 20
SETTLE_SECONDS = 300


def test_nothing_is_lost_or_done_twice_whatever_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**6))
    print(f"SEED={seed}; logs and state: {tmp_path}")  # noqa: T201 - shown when the test fails
    outcome = kill_under_load(KILLS, seed, tmp_path, settle_seconds=SETTLE_SECONDS, env=SHORT_BOUNDS)
    assert outcome.verdict.violations == []
    assert len(outcome.history.kills) == KILLS
    figures = outcome.verdict.figures
    assert figures["accepted"] >= MOST_UNDER_WAY
    assert figures["succeeded"] == figures["commits"] > 0
