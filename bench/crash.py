"""Kill worker, API, PostgreSQL, Dagster's daemon and Kafka with -9 at random under load; then count what is left.

python -m bench.crash [JSON_FILE]        KILLS and SEED may be set in the environment.
"""

import os
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.kills.run import RATE, Outcome, kill_under_load
from bench.report import Report

KILLS = 100
_SETTLE_SECONDS = 900
"""Defaults hold: a permit lives 120 s, a lease 60 s, runs are looked after every 30 s."""


def main() -> int:
    """Kill, judge and report; the exit code is 1 when anything was lost or done twice."""
    kills, seed = int(os.environ.get("KILLS") or KILLS), int(os.environ.get("SEED") or secrets.randbelow(10**6))
    print(f"{kills} kills; SEED={seed} chooses the same victims, pauses and requests again")
    folder = Path(tempfile.mkdtemp(prefix="lakemill-crash-"))
    outcome = kill_under_load(kills, seed, folder, settle_seconds=_SETTLE_SECONDS)
    if outcome.verdict.violations:
        print(*outcome.verdict.violations, f"logs and state are in {folder}", sep="\n")
    else:
        shutil.rmtree(folder)
    return report(outcome, kills, seed).publish(sys.argv[1:])


def report(outcome: Outcome, kills: int, seed: int) -> Report:
    """Return the counts; each kind of violation has the target 0."""
    method = (
        f"{kills} kills with SIGKILL, seed {seed}, one after the other, 0 to 4 s after the last is ready again, while "
        f"up to {RATE:g} submits/s come in, some repeated, cancelled, retried; runs compute with Arrow, not Spark, "
        "everything else is the embedded stack; judged by the answers, the callbacks, the database and the lake"
    )
    result = Report("crash", method)
    history, verdict = outcome.history, outcome.verdict
    for server, count in sorted(Counter(kill.server for kill in history.kills).items()):
        result.add(f"kills_{server}", count, "kills")
    for name, count in verdict.figures.items():
        result.add(name, count, "")
    kinds = Counter(violation.partition(":")[0] for violation in verdict.violations)
    for kind in ("lost", "open", "ends", "twice", "commits", "callbacks", "leases"):
        result.add(f"violations_{kind}", kinds[kind], "", target=0)
    result.add("died_unkilled", len(history.died), "servers")
    result.add("longest_recovery", max(kill.seconds for kill in history.kills), "s")
    result.add("settled_after_last_kill", outcome.settled_seconds, "s")
    return result


if __name__ == "__main__":
    sys.exit(main())
