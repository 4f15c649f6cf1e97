"""Lakemill on a cluster as the end-to-end tests see it: installed from the chart, with this machine's own PostgreSQL,
Kafka and S3 as the external services.
"""

import json
import os
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq

from contracts.identity import Coordinate
from contracts.storage import landing_prefix, token_prefix
from deploy.local.stack import Stack
from resources.lake.store import S3Lake
from tests.e2e.k8s.helm import CHART, VALUES, run
from tests.e2e.world import World, wait_for
from tests.test_architecture import ROOT

NAMESPACE, RELEASE = "lakemill-e2e", "mill"
TESTED = "localhost/lakemill-compute-tested:tested"
NUMBERS = "n\n" + "".join(f"{n}\n" for n in range(1, 25))
SQUARES = [(n, n * n) for n in range(1, 25)]
POLL_SECONDS = 1.0
"""Between two calls of kubectl: each takes a tenth of a core's second, which the runs need."""
PACE = {"milliseconds": 2500}
"""24 numbers in 8 tasks on two cores: the work of slow_squares takes 30 s then."""


@dataclass
class ClusterWorld(World):
    """A World whose compute plane, API and worker are pods."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the deployment's namespace and return what it prints."""
        return run("kubectl", "--namespace", NAMESPACE, *arguments, stdin=stdin).stdout

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Return the pods that a selector finds."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-o", "json", "-l", selector))["items"]
        return found

    def land_numbers(self, dataset: str = "squares") -> Coordinate:
        """Deliver numbers for an entity that no other test uses; return the coordinate of its result."""
        target = Coordinate(f"e2e-{uuid4().hex[:12]}", "v1", dataset)
        landing = S3Lake(self.settings, self.settings.landing_bucket)
        raw = Coordinate(target.entity_id, target.data_version, "numbers")
        landing.put(f"{landing_prefix(raw)}numbers.csv", NUMBERS.encode())
        return target

    def run_of(self, process_id: str, attempt: int = 1) -> str:
        """Wait until this attempt has passed its gate; return its run's id."""

        def started() -> str | None:
            process = self.client.process(process_id)
            run_ids = [entry["detail"].get("run_id") for entry in process["timeline"] if entry["stage"] == "running"]
            return run_ids[attempt - 1] if len(run_ids) >= attempt else None

        return wait_for(f"attempt {attempt} of {process_id} runs", started, 240)

    def driver_of(self, run_id: str) -> str:
        """Return the name of a run's pod."""
        (pod,) = self.pods(f"dagster/run-id={run_id}")
        return str(pod["metadata"]["name"])

    def executors(self, run_id: str) -> dict[str, str]:
        """Return the executors' pods of a run, each with its phase."""
        found = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in self.pods("spark-role=executor")}
        return {name: phase for name, phase in found.items() if name.startswith(f"run-{run_id}")}

    def executors_at_work(self, run_id: str) -> list[str]:
        """Wait until both executors of a run compute a task; return their pods' names."""

        def at_work() -> list[str] | None:
            working = [name for name in self.executors(run_id) if "Running task" in self.log(name)]
            return working if len(working) == 2 else None

        return wait_for(f"two executors of run {run_id} at work", at_work, 240, every=POLL_SECONDS)

    def failures(self, process_id: str) -> list[dict[str, str]]:
        """Return the reasons of the attempts that failed."""
        timeline = self.client.process(process_id)["timeline"]
        return [entry["detail"]["reason"] for entry in timeline if entry["stage"] == "attempt_failed"]

    def failed_codes(self, process_id: str) -> list[str]:
        """Return the reason codes of the attempts that failed."""
        return [reason["code"] for reason in self.failures(process_id)]

    @contextmanager
    def quota(self, memory: str) -> Iterator[None]:
        """While entered, no pod is made in the namespace that would let its pods ask for more memory in all."""
        hard = {"requests.memory": memory}
        manifest = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}

        def is_counted() -> bool:
            return "used" in json.loads(self.kubectl("get", "resourcequota", "small", "-o", "json")).get("status", {})

        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        try:
            wait_for("the quota is counted", is_counted, 30, every=POLL_SECONDS)
            yield
        finally:
            self.kubectl("delete", "resourcequota", "small")

    def log(self, pod: str) -> str:
        """Return what a pod has said so far; nothing when there is no such pod."""
        found = subprocess.run(
            ["kubectl", "--namespace", NAMESPACE, "logs", pod], capture_output=True, text=True, check=False, timeout=30
        )
        return found.stdout

    def wait_until_run_is_gone(self, run_id: str, seconds: float = 90) -> None:
        """Wait until neither a run's own pod nor any of its executors is there."""

        def is_gone() -> bool:
            names = self.kubectl("get", "pods", "-o", "name")
            return not self.pods(f"dagster/run-id={run_id}") and run_id not in names

        wait_for(f"the pods of run {run_id} are gone", is_gone, seconds, every=POLL_SECONDS)

    def squares(self, target: Coordinate) -> list[tuple[int, int]]:
        """Return what is published at a coordinate, as a reader of Parquet finds it."""
        commit = self.commit(target)
        assert commit is not None
        folder = token_prefix(target, commit.provenance.token)
        tables = [pq.read_table(BytesIO(self.lake.get(f"{folder}{file.name}") or b"")) for file in commit.files]
        return sorted((row["n"], row["square"]) for table in tables for row in table.to_pylist())

    def wait_for_no_pods(self, selector: str, seconds: float) -> None:
        """Wait until a selector finds no pod."""
        wait_for(f"no pod {selector}", lambda: not self.pods(selector), seconds, every=POLL_SECONDS)


def build_and_load(folder: Path) -> None:
    """Put the tests' actions into the compute image, and both images into the cluster's nodes.

    ``folder`` holds their archives meanwhile.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    control, compute = (f"localhost/lakemill-{name}:{version}" for name in ("control", "compute"))
    has_docker = os.environ.get("BUILDER") != "buildah" and _docker_runs()
    builder = ["docker", "build"] if has_docker else ["buildah", "build"]
    recipe = Path(__file__).parent / "compute.Dockerfile"
    arguments = ["--build-arg", f"COMPUTE={compute}", "--file", str(recipe), "--tag", TESTED]
    _call(*builder, *shlex.split(os.environ.get("BUILD_FLAGS", "")), *arguments, str(recipe.parent))
    for image in (control, TESTED):
        archive = folder / "image.tar"
        if has_docker:
            _call("docker", "save", "--output", str(archive), image)
        else:
            _call("buildah", "push", "--quiet", image, f"docker-archive:{archive}:{image}")
        _call(*shlex.split(os.environ["IMAGE_LOADER"]), str(archive))
        archive.unlink()


def _docker_runs() -> bool:
    return subprocess.run(["sh", "-c", "docker info"], capture_output=True, check=False).returncode == 0


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def host_address() -> str:
    """Return the address at which pods reach servers of this machine: that of the one node."""
    found = json.loads(run("kubectl", "get", "nodes", "-o", "json").stdout)["items"][0]["status"]["addresses"]
    return str(next(each["address"] for each in found if each["type"] == "InternalIP"))


@contextmanager
def namespace(secrets: dict[str, str]) -> Iterator[None]:
    """Yield with a namespace that enforces ``restricted`` and holds the one Secret; remove it afterwards."""
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "lakemill", "namespace": NAMESPACE},
            "stringData": secrets,
        },
    ]
    manifest = {"apiVersion": "v1", "kind": "List", "items": objects}
    run("kubectl", "apply", "-f", "-", stdin=json.dumps(manifest))
    try:
        yield
    finally:
        run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=100s")


def install(stack: Stack, *options: str) -> None:
    """Install or upgrade the release, and wait until it serves."""
    ports = stack.ports
    settings = {
        "kafka.bootstrap": ports.address("kafka"),
        "s3.endpoint": f"http://{ports.address('s3')}",
        "networkPolicy.to.postgresql.ports[0]": str(ports.of("postgres")),
        "networkPolicy.to.kafka.ports[0]": str(ports.of("kafka")),
        "networkPolicy.to.s3.ports[0]": str(ports.of("s3")),
        "callbacks.allow[0]": f"{ports.host}/32",
    }
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = ["helm", "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE]
    values = ["--values", str(VALUES / "cluster.yaml"), "--wait", "--timeout", "180s"]
    _call(*command, *values, *sets, *options)


def secrets_of(stack: Stack) -> dict[str, str]:
    """Return the one Secret's content: how the deployment reaches the stack's servers."""
    env, postgres = stack.env(), stack.ports.address("postgres")
    return {
        "internal-secret": env["LAKEMILL_INTERNAL_SECRET"],
        "control-url": env["LAKEMILL_DATABASE_URL"],
        "dagster-url": f"postgresql://dagster:{env['LAKEMILL_DAGSTER_PASSWORD']}@{postgres}/dagster",
        "dagster-reader-url": env["LAKEMILL_DAGSTER_DATABASE_URL"],
        "s3-access-key": env["LAKEMILL_S3_ACCESS_KEY"],
        "s3-secret-key": env["LAKEMILL_S3_SECRET_KEY"],
    }
