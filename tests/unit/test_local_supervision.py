"""Starting and stopping, tried on small processes that behave badly."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.errors import HalfWrittenStateError, ServerFailedError, ToolMissingError, UnknownServerError
from deploy.local.lock import command_lock
from deploy.local.plan import SERVER_NAMES, plan
from deploy.local.ports import PortBlock
from deploy.local.postgres import unprivileged
from deploy.local.records import Records, leader
from deploy.local.server import Logs, Server, Step
from deploy.local.site import CompleteFolder, Site
from deploy.local.stack import Stack
from deploy.local.starting import Starter
from deploy.local.status import ServerStatus, State
from deploy.local.stopping import stop_all

WRITES_THEN_STAYS = "import sys, time, pathlib; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
DEAF = (
    "import signal, subprocess, sys, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);" + WRITES_THEN_STAYS
)


class World:
    """A starter over a temporary folder, with everything it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[ServerStatus] = []
        self.records = Records(folder)
        mark = {"LAKEMILL_STACK": str(folder)}
        self.starter = Starter(self.records, Logs(folder / "logs"), mark, {}, self.told.append)

    def server(
        self, name: str, script: str = WRITES_THEN_STAYS, *, needs: tuple[str, ...] = (), grace: float = 5
    ) -> Server:
        touched = self.folder / f"{name}.up"
        command = (sys.executable, "-c", script, str(touched))
        return Server(name, command, "here", lambda _: touched.exists(), needs=needs, deadline=10, grace=grace)

    def step(self, name: str, script: str, *, needs: tuple[str, ...] = ()) -> Step:
        return Step(name, (sys.executable, "-c", script), needs=needs, deadline=10)

    def reap(self) -> None:
        for process in self.starter.children.values():
            process.poll()

    def stop(self) -> None:
        stop_all(self.records, self.folder, reap=self.reap)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.stop()


def test_each_starts_after_what_it_needs(world: World) -> None:
    world.starter.start_all(
        [
            world.server("last", needs=("step",)),
            world.step("step", "print('done')", needs=("first",)),
            world.server("first"),
        ]
    )
    assert [(row.name, row.state) for row in world.told] == [
        ("first", State.STARTING),
        ("first", State.UP),
        ("step", State.STARTING),
        ("step", State.DONE),
        ("last", State.STARTING),
        ("last", State.UP),
    ]
    assert [record.name for record in world.records.all()] == ["first", "last"]
    assert all(record.ready_seconds is not None for record in world.records.all())


@pytest.mark.parametrize(("code", "reason"), [(3, "ended with exit code 3"), (0, "ended while starting")])
def test_a_server_that_dies_while_starting_is_named_with_its_last_words(world: World, code: int, reason: str) -> None:
    script = f"import sys; [print('line', n) for n in range(40)]; print('no disk'); sys.exit({code})"
    with pytest.raises(ServerFailedError, match=reason) as caught:
        world.starter.start_all([world.server("good"), world.server("bad", script)])
    assert caught.value.name == "bad"
    assert len(caught.value.log_tail.splitlines()) == 15
    assert caught.value.log_tail.endswith("no disk")


def test_a_failed_step_stops_what_needs_it(world: World) -> None:
    with pytest.raises(ServerFailedError, match="step ended with exit code 1"):
        world.starter.start_all([world.step("step", "raise SystemExit(1)"), world.server("never", needs=("step",))])
    assert world.records.all() == []


def test_a_deaf_server_and_its_child_are_killed_after_the_grace(world: World) -> None:
    world.starter.start_all([world.server("deaf", DEAF, grace=0.3)])
    (record,) = world.records.all()
    children = psutil.Process(record.pid).children()
    begun = time.monotonic()
    world.stop()
    assert 0.3 <= time.monotonic() - begun < 3
    assert leader(record) is None
    assert children
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert world.records.all() == []


def test_stopping_twice_and_stopping_nothing_is_fine(world: World) -> None:
    world.stop()
    world.stop()


def test_the_servers_named_without_a_site_are_those_of_the_plan(tmp_path: Path) -> None:
    site = Site(tmp_path, tmp_path, PortBlock(8400), variables(), Path("/java"))
    nodes = plan(site)
    assert tuple(node.name for node in nodes if isinstance(node, Server)) == SERVER_NAMES
    names = {node.name for node in nodes}
    assert all(set(node.needs) <= names for node in nodes)
    shown = [json.dumps(node.command) for node in nodes]
    assert not any("hidden" in command for command in shown)  # a command line is public


def variables() -> dict[str, str]:
    names = ("S3_ACCESS_KEY", "S3_SECRET_KEY", "DAGSTER_PASSWORD", "SUPERUSER_PASSWORD", "S3_ENDPOINT")
    return {f"LAKEMILL_{name}": "hidden" for name in names}


def test_a_folder_without_its_marker_is_half_written(tmp_path: Path) -> None:
    folder = CompleteFolder("postgres", tmp_path / "postgres")
    folder.check()
    folder.path.mkdir()
    with pytest.raises(HalfWrittenStateError, match=r"postgres in .*postgres was never completed.*down --purge"):
        folder.check()
    folder.complete()
    folder.check()
    folder.discard_unfinished()
    assert folder.path.exists()


def test_an_unknown_server_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownServerError, match="postgres, s3, kafka"):
        Stack(tmp_path).restart("nothing")


def test_one_command_at_a_time(tmp_path: Path) -> None:
    with command_lock(tmp_path), pytest.raises(Exception, match="right now"), command_lock(tmp_path):
        pass
    with command_lock(tmp_path):
        pass


def test_root_without_setpriv_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="util-linux"):
        unprivileged()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert unprivileged() == ()


def test_the_log_before_is_kept(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    assert logs.tail("api") == "(no log was written)"
    logs.turn("api").write_text("first")
    logs.turn("api").write_text("second")
    assert logs.tail("api") == "second"
    assert (tmp_path / "api.log.1").read_text() == "first"


def test_postgres_is_asked_to_stop_fast(tmp_path: Path) -> None:
    site = Site(tmp_path, tmp_path, PortBlock(8400), variables(), Path("/java"))
    (postgres,) = (node for node in plan(site) if node.name == "postgres")
    assert isinstance(postgres, Server)
    assert postgres.stop_signal is signal.SIGINT
