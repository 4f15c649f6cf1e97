"""One embedded stack for all end-to-end tests, with short bounds and armed crash points."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.client import ApiClient
from cli.demo.command import credentials
from cli.demo.receiver import CallbackReceiver
from deploy.local.ports import find_base_port
from deploy.local.site import ROOT
from deploy.local.stack import Stack
from resources.settings import ControlSettings
from tests.e2e.world import World

SHORT_BOUNDS = {
    "LAKEMILL_PERMIT_SECONDS": "15",
    "LAKEMILL_CLOCK_SKEW_SECONDS": "1",
    "LAKEMILL_RECONCILE_INTERVAL": "1",
    "LAKEMILL_POLL_SECONDS": "5",
}


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Start the stack once; stop it and remove its state at the end. Its logs are kept when LAKEMILL_KEEP is set."""
    state_dir = Path(tempfile.mkdtemp(prefix="lakemill-e2e-"))
    faults = state_dir / "faults"
    faults.mkdir()
    bounds = {**SHORT_BOUNDS, "LAKEMILL_FAULTS_DIR": str(faults)}
    stack = Stack(state_dir, find_base_port(), jars_dir=ROOT / ".lakemill" / "jars", extra_env=bounds)
    stack.start()
    try:
        variables = {name.removeprefix("LAKEMILL_").lower(): value for name, value in {**stack.env(), **bounds}.items()}
        settings = ControlSettings.model_validate(variables)
        key, secret = asyncio.run(credentials(settings))
        with CallbackReceiver(secret) as receiver, ApiClient(settings.api_url, key) as client:
            yield World(stack, settings, client, receiver, faults)
    finally:
        stack.stop()
        if not os.environ.get("LAKEMILL_KEEP"):
            shutil.rmtree(state_dir, ignore_errors=True)
