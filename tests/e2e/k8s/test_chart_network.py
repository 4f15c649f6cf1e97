"""The chart's NetworkPolicies and its Ingress, read as a network and a router would."""

from collections.abc import Sequence
from itertools import product

import pytest

from tests.e2e.k8s.helm import FULL, RELEASE, named, pods, render
from tests.e2e.k8s.rules import Network, holds_metadata

pytestmark = pytest.mark.k8s


@pytest.mark.parametrize("options", [(), FULL], ids=["defaults", "full"])
def test_the_network_admits_what_it_must_and_nothing_else(options: Sequence[str]) -> None:
    objects = render(*options)
    network = Network(objects)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    assert all(network.is_closed(found) for found in labels.values())
    admitted = {
        (sender, receiver, port)
        for sender, receiver, port in product(labels, labels, (3000, 4000, 7078, 7079, 8400))
        if network.admits(labels[sender], labels[receiver], port)
    }
    readers = {("webserver-read-only", "code", 4000)} if "webserver-read-only" in labels else set()
    assert admitted == readers | {
        *((sender, "api", 8400) for sender in ("code", "daemon", "run", "publish")),
        *((sender, "webserver", 3000) for sender in ("api", "worker")),
        *((sender, "code", 4000) for sender in ("daemon", "webserver")),
        *(("executor", "run", port) for port in (7078, 7079)),
        *((sender, "executor", 7079) for sender in ("run", "executor")),
    }


@pytest.mark.parametrize("options", [(), FULL], ids=["defaults", "full"])
def test_no_rule_opens_the_metadata_address_or_a_side_to_everybody(options: Sequence[str]) -> None:
    network = Network(render(*options))
    assert len(list(network.blocks())) > 20
    assert [block["cidr"] for block in network.blocks() if holds_metadata(block)] == []
    for policy in network.policies:
        assert all(rule.get("from") for rule in policy.get("ingress") or [])
        assert all(rule.get("to") for rule in policy.get("egress") or [])


@pytest.mark.parametrize(("options", "entrances"), [((), {}), (FULL, {"api": 8400, "webserver-read-only": 3000})])
def test_strangers_come_in_where_the_values_say(options: Sequence[str], entrances: dict[str, int]) -> None:
    objects = render(*options)
    network = Network(objects)
    found: dict[str, int] = {}
    for name, pod in pods(objects).items():
        for rule in network.rules(pod["metadata"]["labels"], "ingress"):
            if any("podSelector" not in peer for peer in rule["from"]):
                found[name] = rule["ports"][0]["port"]
    assert found == entrances


def test_only_public_paths_are_routed() -> None:
    full = render(*FULL)
    ingress = named(full, "Ingress", "api")["spec"]
    routes = {
        (path["path"], path["pathType"]): path["backend"]["service"]["name"]
        for path in ingress["rules"][0]["http"]["paths"]
    }
    assert routes == {("/v1", "Prefix"): f"{RELEASE}-api", ("/v1/processes/callback", "Exact"): f"{RELEASE}-closed"}
    assert "selector" not in named(full, "Service", "closed")["spec"]
    assert ingress["tls"] == [{"hosts": ["mill.example.com"], "secretName": "mill-tls"}]
    assert not [found for found in render() if found["kind"] == "Ingress"]
