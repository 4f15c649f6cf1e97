"""What Spark asks of the Kubernetes API for its executors: no more than a run's account may do."""

import os
import subprocess
import sys
import time

from cli.doctor.cluster import rbac_table
from deploy.local.site import ROOT
from tests.executor_count import EXECUTOR_TEMPLATE
from tests.kube_api import KubeApi, kube_api

JARS = ROOT / ".lakemill" / "jars" / "spark"
DRIVER = "dagster-run-1-abcde"
_SECONDS = 120
_RUN = """
import sys
from contracts.messages import Profile
from orchestration.executors import PodExecutors
from resources.cluster.port import Pod
from resources.settings import compute_settings
from resources.spark.session import SparkSessions
from tests.memory_cluster import MemoryCluster

settings, cluster = compute_settings(), MemoryCluster()
cluster.add(Pod(settings.pod_name, "Running", "compute:9"))
sessions = SparkSessions(settings, executors=lambda: PodExecutors(settings, cluster))
sessions.open(Profile(driver_memory="512m", executor_instances=3))
sys.stdin.readline()
sessions.close()
"""


def test_a_run_may_make_its_executors_and_takes_those_that_no_node_took_away_with_it() -> None:
    with kube_api(rbac_table()["run"]) as api:
        api.add({"metadata": {"name": DRIVER}}, phase="Running")
        with subprocess.Popen(
            [sys.executable, "-c", _RUN], env=environment(api), cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            try:
                wait_for_executors(api, run)
                _, said = run.communicate(b"enough\n", timeout=_SECONDS)
            finally:
                run.kill()
        assert run.returncode == 0, said.decode()
        assert api.refused == set()
        assert list(api.pods) == [DRIVER], said.decode()


def environment(api: KubeApi) -> dict[str, str]:
    return {
        **os.environ,
        "LAKEMILL_JARS_DIR": str(JARS),
        "LAKEMILL_INTERNAL_SECRET": "internal-secret-of-the-tests",
        "LAKEMILL_S3_ENDPOINT": "http://127.0.0.1:9",  # nobody: nothing is read or written
        "LAKEMILL_SPARK_MASTER": f"k8s://{api.url}",
        "LAKEMILL_POD_NAME": DRIVER,
        "LAKEMILL_POD_NAMESPACE": "mill",
        "LAKEMILL_POD_IP": "127.0.0.1",
        "LAKEMILL_EXECUTOR_TEMPLATE": str(EXECUTOR_TEMPLATE),
    }


def wait_for_executors(api: KubeApi, run: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _SECONDS
    while len(api.pods) < 4:
        assert run.poll() is None, run.communicate()[1].decode()
        assert time.monotonic() < deadline, f"made {list(api.pods)}, refused {api.refused}"
        time.sleep(0.1)
