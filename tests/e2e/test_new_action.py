"""The guide's own action, written into a checkout of its own, runs from POST to callback; no other file is edited."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assets.snapshots.reader import open_snapshot
from cli.client import ApiClient
from cli.demo.command import credentials
from cli.demo.receiver import CallbackReceiver
from contracts.identity import Coordinate
from contracts.states import State
from deploy.local.ports import find_base_port
from deploy.local.site import ROOT
from deploy.local.stack import Stack
from resources.settings import ControlSettings
from tests.e2e.world import World

GUIDE = (ROOT / "docs" / "adding-an-action.md").read_text()
_COMMAND_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of what git has of the repository, whose commands run its own code and keep their state beside it."""

    folder: Path
    state_dir: Path

    def lakemill(self, *arguments: str) -> None:
        """Run a command as a user of the checkout does; it must succeed."""
        env = {**os.environ, "PYTHONPATH": str(self.folder), "LAKEMILL_STATE_DIR": str(self.state_dir)}
        command = [str(Path(sys.executable).parent / "lakemill"), *arguments]
        done = subprocess.run(
            command, env=env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=_COMMAND_SECONDS
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path / "checkout", tmp_path / "state")
    for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")[:-1]:
        (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, made.folder / name)
    shutil.copytree(ROOT / ".lakemill" / "jars", made.state_dir / "jars")
    made.lakemill("up", "-d", "--base-port", str(find_base_port()))
    yield made
    made.lakemill("down")


@pytest.fixture
def world(checkout: Checkout) -> Iterator[World]:
    stack = Stack(checkout.state_dir)
    variables = {name.removeprefix("LAKEMILL_").lower(): value for name, value in stack.env().items()}
    settings = ControlSettings.model_validate(variables)
    key, secret = asyncio.run(credentials(settings))
    with CallbackReceiver(secret) as receiver, ApiClient(settings.api_url, key) as client:
        yield World(stack, settings, client, receiver, checkout.state_dir)


def test_the_guides_action_runs_from_post_to_callback(checkout: Checkout, world: World) -> None:
    flights = world.land_flights()
    assert world.finish(world.submit(flights))["state"] == State.SUCCEEDED
    example, test = (part.partition("```")[0] for part in GUIDE.split("```python\n")[1:])
    (checkout.folder / "assets" / "actions" / "distances.py").write_text(example)
    (checkout.folder / "tests" / "actions" / "test_distances.py").write_text(test)
    checkout.lakemill("actions", "test", "distances")
    (commands,) = (part.partition("```")[0] for part in GUIDE.split("```sh\n")[1:])
    for line in commands.splitlines():
        checkout.lakemill(*shlex.split(line, comments=True)[1:])
    process = world.finish(world.submit(flights, "distances"))
    assert process["state"] == State.SUCCEEDED, process
    published = open_snapshot(world.lake, Coordinate(flights.entity_id, flights.data_version, "distances"))
    assert published.to_arrow().to_pylist() == [{"carrier": "UA", "miles": 1400 + 1416 + 760}]
    assert {check.name for check in published.commit.provenance.checks} >= {"not_null(carrier)", "unique(carrier)"}
