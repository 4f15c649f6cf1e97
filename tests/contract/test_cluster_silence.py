"""What cannot be asked of a cluster that is silent: every call says so, and in time."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.cluster.port import ClusterUnavailableError
from tests.memory_cluster import MemoryCluster
from tests.test_architecture import ROOT

VERBS: dict[str, list[Any]] = {
    "pod": ["x"],
    "pods": ["a=b"],
    "job": ["x"],
    "complaints": ["Job", "x"],
    "try_pod": [{"metadata": {"name": "x"}, "spec": {"containers": []}}],
    "delete_job": ["x"],
}
ASK = """
import json, sys, time
from resources.cluster.port import ClusterError
from resources.cluster.api import BoundedApiClient
from resources.cluster.kubernetes import KubernetesCluster
BoundedApiClient.timeout = (0.3, 0.3)
cluster, told = KubernetesCluster("nowhere"), {}
for verb, arguments in json.loads(sys.argv[1]).items():
    began = time.monotonic()
    try:
        getattr(cluster, verb)(*arguments)
    except ClusterError as error:
        told[verb] = [type(error).__name__, error.retriable, str(error), time.monotonic() - began]
print(json.dumps(told))
"""
TERMINATE = """
import os, time
import dagster as dg
from orchestration.launcher import LakemillRunLauncher
from resources.cluster.api import BoundedApiClient
BoundedApiClient.timeout = (0.3, 0.3)
launcher = LakemillRunLauncher(
    service_account_name="run", instance_config_map="c", dagster_home="/", job_image="i",
    load_incluster_config=False, kubeconfig_file=os.environ["KUBECONFIG"],
)
with dg.DagsterInstance.ephemeral() as instance:
    launcher.register_instance(instance)
    run = instance.create_run_for_job(dg.GraphDefinition("x").to_job(), status=dg.DagsterRunStatus.STARTED)
    began = time.monotonic()
    assert not launcher.terminate(run.run_id)
    print(time.monotonic() - began)
"""


@pytest.fixture(params=[False, True], ids=["closed", "mute"])
def server(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param:
            server.listen(64)  # and never answers
        yield server


def test_a_silent_api_server_is_told_in_time(server: socket.socket, tmp_path: Path) -> None:
    told = json.loads(ask(server, tmp_path, ASK, json.dumps(VERBS)))
    assert told.keys() == VERBS.keys()
    for kind, is_retriable, message, seconds in told.values():
        assert (kind, is_retriable) == ("ClusterUnavailableError", True)
        assert message.startswith("the Kubernetes API server does not answer")
        assert seconds < 3
    assert count_connections(server) <= 2 * len(VERBS)


def test_what_dagster_itself_asks_ends_in_time(server: socket.socket, tmp_path: Path) -> None:
    assert float(ask(server, tmp_path, TERMINATE).splitlines()[-1]) < 3


def ask(server: socket.socket, folder: Path, script: str, *arguments: str) -> str:
    """Return what the script prints in a process of its own: a client reads its configuration when it is imported."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(kubeconfig_of(server.getsockname()[1]))
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def count_connections(server: socket.socket) -> int:
    server.setblocking(False)
    for count in range(64):
        try:
            server.accept()[0].close()
        except OSError:  # no more of them, or none could come
            return count
    return 64


def kubeconfig_of(port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
    )


@pytest.mark.parametrize("verb", VERBS)
def test_the_fake_is_as_silent(verb: str) -> None:
    cluster = MemoryCluster()
    cluster.is_silent = True
    with pytest.raises(ClusterUnavailableError, match="the Kubernetes API server does not answer"):
        getattr(cluster, verb)(*VERBS[verb])
