"""The benches still run: each in its short mode, on a stack of its own. Their figures mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.site import ROOT

FIGURES = {
    "submit": {"kafka_up_p95", "kafka_stopped_p95", "releasing_p95", "floor_p95", "statements_per_submit"},
    "database": {"postgres_share", "postgres_cpu", "runs_cpu", "rows_inserted", "statements", "connections", "wal"},
    "callbacks": {"callback_rate", "callback_p95", "worker_cpu"},
    "backfill": {"longest_transaction", "create", "expanded", "rate"},
    "scale": {
        "processes_state_none",
        "snapshots_all",
        "backfills",
        "retention_pass_of_5000",
        "reconciler_pass_beside_a_backlog_of_5000",
    },
    "commit_race": {"rounds_with_one_winner", "publishes_per_second"},
    "snapshot_reads": {"reads", "snapshots_seen", "kills"},
    "commit": {"commit", "footers", "footers_at_once"},
    "cold_start": {"lakemill_ready", "stock_ready", "ready_times_faster", "result_times_faster"},
    "process": {"post_to_callback", "until_spark_ready", "rewrite_sf0.01_bare", "revenue_sf0.01_records_per_hour"},
    "architectures": {
        f"{name}_{figure}"
        for name in ("synchronous", "queue", "lakemill")
        for figure in ("records_per_hour", "look_p95", "database_cpu", "database_stored")
    }
    # Processor time is told in hundredths of a second, and PostgreSQL hands so short a queue on in one of them or none.
    - {"queue_database_cpu"},
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_bench_measures_what_it_names(name: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", f"bench.{name}", str(file), "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert file.exists(), done.stderr[-3000:]
    document = json.loads(file.read_text())
    assert document["command"] == f"make bench NAME={name}"
    figures = {figure: told["value"] for figure, told in document["figures"].items()}
    assert {figure for figure in FIGURES[name] if figures.get(figure, 0) > 0} == FIGURES[name]
    missed = any(told["met"] is False for told in document["figures"].values())
    assert done.returncode == int(missed)
