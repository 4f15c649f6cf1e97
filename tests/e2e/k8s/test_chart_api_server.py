"""The chart as a real API server takes it."""

from collections.abc import Iterator, Sequence
from uuid import uuid4

import pytest
import yaml

from tests.e2e.k8s.helm import RELEASE, VARIANTS, CommandError, pods, render, run, run_job

pytestmark = pytest.mark.k8s


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """Yield a namespace that enforces Pod Security ``restricted``, with the chart's service accounts in it."""
    name = f"chart-test-{uuid4().hex[:8]}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    run("kubectl", "create", "-f", "-", stdin=yaml.safe_dump(made))
    try:
        run("kubectl", "-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        accounts = [found for found in render(namespace=name) if found["kind"] == "ServiceAccount"]
        run("kubectl", "-n", name, "apply", "-f", "-", stdin=yaml.safe_dump_all(accounts))
        yield name
    finally:
        run("kubectl", "delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_the_api_server_takes_every_object_without_a_warning(options: Sequence[str], namespace: str) -> None:
    objects = [*render(*options, namespace=namespace), run_job(render(*options, namespace=namespace))]
    done = run("kubectl", "-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert done.stderr == ""
    assert done.stdout.count("(server dry run)") == len(objects)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_the_api_server_takes_every_pod_where_restricted_is_enforced(options: Sequence[str], namespace: str) -> None:
    made = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**pod["metadata"], "name": f"{RELEASE}-{component}"},
            "spec": pod["spec"],
        }
        for component, pod in pods(render(*options, namespace=namespace)).items()
    ]
    assert len(made) >= 9
    done = run("kubectl", "-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(made))
    assert done.stderr == ""
    made[0]["spec"] = {**made[0]["spec"], "hostNetwork": True}
    with pytest.raises(CommandError, match="violates PodSecurity"):
        run("kubectl", "-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(made[0]))
