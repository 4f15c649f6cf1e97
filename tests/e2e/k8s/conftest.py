"""The chart as it is rendered, and one deployment for all tests that need it: the first installs it."""

import asyncio
import json
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
from tests.e2e.k8s.deployment import (
    NAMESPACE,
    RELEASE,
    TESTED,
    ClusterWorld,
    build_and_load,
    host_address,
    install,
    namespace,
    secrets_of,
)
from tests.e2e.k8s.helm import FULL, VARIANTS, Objects, render, run


@pytest.fixture(scope="session")
def tested_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compute image with the tests' actions, and the control image beside it, are in the nodes; its name."""
    build_and_load(tmp_path_factory.mktemp("images"))
    return TESTED


@pytest.fixture(scope="session")
def mill(tested_image: str) -> Iterator[ClusterWorld]:
    """Yield the deployment of ``tested_image``; its services run on this machine, where pods reach them."""
    assert tested_image == TESTED
    state_dir = Path(tempfile.mkdtemp(prefix="lakemill-k8s-"))
    stack = Stack(state_dir, find_base_port(), host=host_address(), jars_dir=ROOT / ".lakemill" / "jars")
    stack.start(only={"postgres", "kafka", "s3"})
    try:
        with namespace(secrets_of(stack)):
            install(stack)
            yield from _world(stack, state_dir)
    finally:
        stack.stop()
        if not os.environ.get("LAKEMILL_KEEP"):
            shutil.rmtree(state_dir, ignore_errors=True)


def _world(stack: Stack, state_dir: Path) -> Iterator[ClusterWorld]:
    service = run("kubectl", "-n", NAMESPACE, "get", "service", f"{RELEASE}-api", "-o", "json")
    address = f"http://{json.loads(service.stdout)['spec']['clusterIP']}:8400"
    variables = {name.removeprefix("LAKEMILL_").lower(): value for name, value in stack.env().items()}
    settings = ControlSettings.model_validate({**variables, "api_url": address})
    key, secret = asyncio.run(credentials(settings))
    receiver = CallbackReceiver(secret, host=stack.ports.host)
    with receiver, ApiClient(address, key) as client:
        yield ClusterWorld(stack, settings, client, receiver, state_dir)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Objects:
    return render(*VARIANTS[request.param])


@pytest.fixture(scope="module")
def full() -> Objects:
    return render(*FULL)
