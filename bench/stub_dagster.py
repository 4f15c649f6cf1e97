"""Dagster's real daemon beside a stack, with the real sensor and runs that compute nothing."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.stacks import BenchStack
from deploy.local.environment import inherited
from deploy.local.site import ROOT

_YAML = ROOT / "deploy" / "local" / "dagster.yaml"
_RUNS_AT_ONCE = 20
_END_SECONDS = 30.0


@contextmanager
def stub_dagster(bench: BenchStack) -> Iterator[dict[str, int]]:
    """Run the daemon with its code location, and the one process that executes all runs, for the block.

    Yields name → process id. The stack must have run its step ``orphans``, which makes Dagster's tables.
    """
    home = bench.stack.state_dir / "stub-dagster"
    home.mkdir()
    address = home / "runs.socket"
    (home / "dagster.yaml").write_text(_configuration(address))
    env = inherited({**bench.stack.dagster_env(), "DAGSTER_HOME": str(home), "LAKEMILL_POLL_SECONDS": "5"})
    commands = {
        "runs": (sys.executable, "-m", "bench.stub_launcher", str(address)),
        "daemon": (sys.executable, "-m", "dagster._daemon", "run", "-m", "bench.stub_location"),
    }
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with bench.stack.logs.of(f"stub-{name}").open("wb") as log:
                servers[name] = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log)
            _wait_for(address)
        yield {name: server.pid for name, server in servers.items()}
    finally:
        for server in reversed(servers.values()):
            server.terminate()
        for server in servers.values():
            _end(server)


def _configuration(address: Path) -> str:
    """Return the embedded stack's own configuration, but for the launcher, and logs that no database sees."""
    settings = yaml.safe_load(_YAML.read_text())
    module = "dagster._core.storage.noop_compute_log_manager"
    document: str = yaml.safe_dump(
        {
            **settings,
            "run_launcher": {
                "module": "bench.stub_launcher",
                "class": "StubRunLauncher",
                "config": {"address": str(address)},
            },
            "run_coordinator": {
                **settings["run_coordinator"],
                "config": {**settings["run_coordinator"]["config"], "max_concurrent_runs": _RUNS_AT_ONCE},
            },
            "compute_logs": {"module": module, "class": "NoOpComputeLogManager"},
        }
    )
    return document


def _end(server: subprocess.Popen[bytes]) -> None:
    try:
        server.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} was not made within {seconds:g} s")
        time.sleep(0.1)
