"""``lakemill up | down | status | restart`` as a user types them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.ports import HOST, PortBlock, find_base_port
from deploy.local.records import Records, leader
from deploy.local.site import ROOT

LAKEMILL = str(Path(sys.executable).parent / "lakemill")
START_SECONDS = 180


class Terminal:
    """Runs commands on one state folder, with the jars of the repository."""

    def __init__(self, folder: Path) -> None:
        self.state_dir = folder / "state"
        self.state_dir.mkdir()
        (self.state_dir / "jars").symlink_to(ROOT / ".lakemill" / "jars")
        self.base_port = find_base_port()
        self.env = {**os.environ, "LAKEMILL_STATE_DIR": str(self.state_dir)}
        self.printed = folder / "up.txt"

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LAKEMILL, *arguments], env={**self.env, **env}, capture_output=True, text=True, check=False, timeout=240
        )

    def open(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.printed.open("wb") as out:
            return subprocess.Popen([LAKEMILL, *arguments], env=self.env, stdout=out, stderr=subprocess.STDOUT)

    def own_processes(self) -> list[str]:
        """Every living process that works below the state folder or carries its mark."""
        found = []
        for process in psutil.process_iter():
            try:
                seen = " ".join([process.cwd(), *process.cmdline(), process.environ().get("LAKEMILL_STACK", "")])
                if str(self.state_dir) in seen and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {process.cmdline()}")
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.run("down")


def until(what: str, condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)  # between two looks at the condition


def test_without_a_stack(terminal: Terminal) -> None:
    assert terminal.run("status").returncode == 1
    assert terminal.run("down").returncode == 0
    refused = terminal.run("restart", "api")
    assert (refused.returncode, refused.stderr) == (1, "lakemill: api was not started: run 'lakemill up'.\n")
    assert terminal.run("up", "--nonsense").returncode == 2
    assert terminal.run("down", "--purge").returncode == 2


def test_a_missing_java(terminal: Terminal, tmp_path: Path) -> None:
    port = str(find_base_port())  # the usual ports may be taken
    refused = terminal.run("up", "--base-port", port, PATH=str(tmp_path), JAVA_HOME="")
    assert refused.returncode == 1
    assert "Lakemill needs a Java 17 (or newer) runtime" in refused.stderr
    assert not (terminal.state_dir / "postgres").exists()


def test_a_taken_port(terminal: Terminal) -> None:
    with socket.create_server((HOST, PortBlock(terminal.base_port).of("postgres"))):
        refused = terminal.run("up", "--base-port", str(terminal.base_port))
    assert refused.returncode == 1
    assert f"postgres (port {terminal.base_port + 2})" in refused.stderr
    assert "--base-port" in refused.stderr
    assert not (terminal.state_dir / "postgres").exists()


@pytest.mark.parametrize("name", ["postgres", "kafka"])
def test_a_half_written_state_folder(terminal: Terminal, name: str) -> None:
    (terminal.state_dir / name / "data").mkdir(parents=True)
    refused = terminal.run("up", "--base-port", str(terminal.base_port))
    assert refused.returncode == 1
    assert str(terminal.state_dir / name) in refused.stderr
    assert "lakemill down --purge" in refused.stderr
    assert terminal.own_processes() == []
    assert terminal.run("down", "--purge", "--yes").returncode == 0
    assert [path.name for path in terminal.state_dir.iterdir() if path.name != "lock"] == ["jars"]


def test_secrets_that_are_gone(terminal: Terminal) -> None:
    (terminal.state_dir / "postgres").mkdir()
    (terminal.state_dir / "postgres" / "complete").touch()
    refused = terminal.run("up", "--base-port", str(terminal.base_port))
    assert refused.returncode == 1
    assert "lakemill.env" in refused.stderr


def test_ctrl_c_while_starting_leaves_nothing(terminal: Terminal) -> None:
    up = terminal.open("up", "--base-port", str(terminal.base_port))
    until("a first server starts", lambda: bool(Records(terminal.state_dir).all()), 30)
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=15) == 130
    assert terminal.own_processes() == []
    assert not (terminal.state_dir / "postgres").exists() or (terminal.state_dir / "postgres" / "complete").exists()


def test_up_watches_names_the_dead_and_ends_without_a_process(terminal: Terminal) -> None:
    up = terminal.open("up", "--base-port", str(terminal.base_port))
    until("everything is up", lambda: up.poll() is not None or "Ctrl+C" in terminal.printed.read_text(), START_SECONDS)
    assert up.poll() is None, terminal.printed.read_text()
    assert terminal.run("status").returncode == 0

    second = terminal.run("up")
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert terminal.run("status").returncode == 0

    record = Records(terminal.state_dir).read("api")
    assert record
    os.kill(record.pid, signal.SIGKILL)
    until("the death is told", lambda: "lakemill restart api" in terminal.printed.read_text(), 10)
    told = terminal.printed.read_text()
    assert "api died" in told
    assert "Uvicorn running" in told or "startup complete" in told  # the end of its log
    dead = terminal.run("status")
    assert dead.returncode == 1
    assert "dead" in dead.stdout

    assert terminal.run("restart", "api").returncode == 0
    restarted = Records(terminal.state_dir).read("api")
    assert restarted
    assert leader(restarted)
    assert terminal.run("status").returncode == 0

    begun = time.monotonic()
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=15) == 0
    assert time.monotonic() - begun < 15
    assert terminal.own_processes() == []


def test_down_stops_what_a_killed_up_left(terminal: Terminal) -> None:
    up = terminal.open("up", "--base-port", str(terminal.base_port))
    until("a first server starts", lambda: bool(Records(terminal.state_dir).all()), 30)
    up.kill()
    up.wait()
    assert terminal.run("down").returncode == 0
    assert terminal.own_processes() == []
