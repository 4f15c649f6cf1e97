"""How a short pod ends, and what is told when it does not, against answers as the API server gives them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.rest import RESTResponse
from urllib3 import HTTPResponse

from resources.cluster.review import PodEnd, ShortPod
from resources.cluster.short_pod import run_to_its_end

IMAGE = "lakemill-compute:9"
STARTING = {"waiting": {"reason": "ContainerCreating"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
NO_NODE = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}


class FakeApi(ApiClient):  # type: ignore[misc]  # kubernetes has no types
    """An API server with one Job. Each look at its pod takes the next of ``statuses``; None is no pod."""

    def __init__(self, *statuses: dict[str, Any] | None, events: dict[str, str] | None = None) -> None:
        super().__init__(Configuration())
        self.statuses: Sequence[dict[str, Any] | None] = statuses
        self.events = events or {}
        self.asked: list[str] = []

    def request(self, method: str, url: str, query_params: Any = (), **_: Any) -> RESTResponse:
        what = url.rpartition("/")[2]
        self.asked.append(f"{method} {what}")
        if what == "log":
            return answer(b'{"python": "3.11"}\n')
        items: list[dict[str, Any]] = []
        if what == "pods":
            status, *later = self.statuses
            self.statuses = later or [status]
            pod = {"metadata": {"name": "pod"}, "spec": {"containers": [{"name": "doctor", "image": IMAGE}]}}
            items = [{**pod, "status": status}] if status else []
        if what == "events":
            reason = dict(query_params)["fieldSelector"].rpartition("=")[2]
            items = [{"metadata": {}, "involvedObject": {}, "message": self.events[reason]}] if self.events else []
        return answer(json.dumps({"items": items}).encode())


def answer(body: bytes) -> RESTResponse:
    return RESTResponse(HTTPResponse(body, status=200))


def status(state: dict[str, Any], phase: str = "Pending") -> dict[str, Any]:
    started = {"name": "doctor", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": phase, "containerStatuses": [{**started, "state": state}]}


def end_of(api: FakeApi) -> PodEnd:
    """Run a pod for ten seconds of which each look takes one, and see that nothing is left."""
    time = iter(range(100))
    end = run_to_its_end(
        api, "mill", ShortPod(IMAGE, ("true",), seconds=10), clock=lambda: next(time), sleep=lambda _: None
    )
    first, *_, last = api.asked
    assert (first, last.startswith("DELETE lakemill-doctor-")) == ("POST jobs", True)
    return end


def test_a_pod_that_ends_well_tells_its_log_as_it_is() -> None:
    api = FakeApi(None, {"phase": "Pending"}, status(STARTING), status(DONE, "Succeeded"))
    assert end_of(api) == PodEnd(0, log='{"python": "3.11"}\n')
    assert api.asked.count("GET pods") == 4


def test_a_pod_that_ends_badly_tells_its_exit_code() -> None:
    end = end_of(FakeApi(status({"terminated": {"exitCode": 3, "reason": "Error"}}, "Failed")))
    assert (end.exit_code, end.problem) == (3, "exit code 3 (Error)")


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "its pod cannot be created: refused by quota"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"},
            "Evicted: The node was low on memory",
        ),
        (status({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}), "ImagePullBackOff: not found"),
        (status({"terminated": {"exitCode": 128, "reason": "StartError"}}, "Failed"), "StartError: not found"),
    ],
)
def test_what_never_starts_is_told_in_the_clusters_words(found: dict[str, Any] | None, problem: str) -> None:
    api = FakeApi(found, events={"FailedCreate": "refused by quota", "Failed": "not found"})
    assert end_of(api) == PodEnd(None, problem=problem)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "there is no pod"),
        (status(STARTING), "its container waits: ContainerCreating"),
        ({"phase": "Pending", "conditions": [NO_NODE]}, "0/1 nodes are available"),
        (status({"running": {}}, "Running"), "its pod is Running"),
    ],
)
def test_a_pod_that_takes_too_long_is_told_and_removed(found: dict[str, Any] | None, problem: str) -> None:
    assert end_of(FakeApi(found)) == PodEnd(None, problem=f"nothing after 10 s: {problem}")
