"""What cannot be asked of a cluster that is silent: every call says so, and in time."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resources.cluster import ClusterUnavailableError
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
from resources.cluster import ClusterError
from resources.kubernetes_cluster import KubernetesCluster
cluster, told = KubernetesCluster("nowhere", (0.3, 0.3)), {}
for verb, arguments in json.loads(sys.argv[1]).items():
    began = time.monotonic()
    try:
        getattr(cluster, verb)(*arguments)
    except ClusterError as error:
        told[verb] = [type(error).__name__, error.retriable, str(error), time.monotonic() - began]
print(json.dumps(told))
"""


@pytest.mark.parametrize("listens", [False, True], ids=["closed", "mute"])
def test_a_silent_api_server_is_told_in_time(tmp_path: Path, listens: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen(64)  # and never answers
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(kubeconfig_of(server.getsockname()[1]))
        # The client reads where its configuration lies when it is imported.
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", ASK, json.dumps(VERBS)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        tries = count_connections(server) if listens else 0
    told = json.loads(done.stdout)
    assert told.keys() == VERBS.keys()
    for kind, is_retriable, message, seconds in told.values():
        assert (kind, is_retriable) == ("ClusterUnavailableError", True)
        assert message.startswith("the Kubernetes API server does not answer")
        assert seconds < 3
    assert tries <= 2 * len(VERBS)


def count_connections(server: socket.socket) -> int:
    server.setblocking(False)
    for count in range(64):
        try:
            server.accept()[0].close()
        except BlockingIOError:
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
