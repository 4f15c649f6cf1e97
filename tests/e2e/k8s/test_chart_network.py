"""The chart's NetworkPolicies and its Ingress, read as a network and a router would."""

import json
from collections.abc import Sequence
from ipaddress import ip_network
from itertools import product

import pytest

from tests.e2e.k8s.helm import FULL, HELM_TESTS, RELEASE, named, pods, render
from tests.e2e.k8s.rules import METADATA, Network, holds_metadata

pytestmark = pytest.mark.k8s


@pytest.mark.parametrize("options", [(), FULL], ids=["defaults", "full"])
def test_the_network_admits_what_it_must_and_nothing_else(options: Sequence[str]) -> None:
    objects = render(*options)
    network = Network(objects)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    assert all(network.is_closed(found) for found in labels.values())
    assert {name: labels.pop(name) for name in HELM_TESTS} == {name: labels[like] for name, like in HELM_TESTS.items()}
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
def test_no_rule_opens_a_metadata_address_or_a_side_to_everybody(options: Sequence[str]) -> None:
    network = Network(render(*options))
    assert len(list(network.blocks())) > 20
    assert [block["cidr"] for block in network.blocks() if holds_metadata(block)] == []
    for policy in network.policies:
        assert all(rule.get("from") for rule in policy.get("ingress") or [])
        assert all(rule.get("to") for rule in policy.get("egress") or [])


def test_metadata_addresses_are_left_out_of_what_is_around_them_and_of_nothing_else() -> None:
    wide = (
        "0.0.0.0/0",
        "128.0.0.0/1",
        "169.0.0.0/8",
        "100.100.100.0/24",
        "::/0",
        "FD00::/8",
        "fd20:ce::/64",
        "64:ff9b::/96",
    )
    clear = ("10.0.0.0/8", "169.253.0.0/16", "100.100.100.201/32", "fd00:ec3::/32", "1:2:3:4:5:6:7:8/128", "::1/128")
    allowed = ",".join((*wide, *clear))
    blocks = {
        block["cidr"]: block.get("except", [])
        for block in Network(render("--set", f"callbacks.allow={{{allowed}}}")).blocks()
    }
    assert blocks.keys() == {*wide, *clear}
    for cidr, holes in blocks.items():
        around = ip_network(cidr)
        assert holes == [str(inside) for inside in METADATA if inside.overlaps(around)], cidr
        assert bool(holes) is (cidr in wide)


def test_names_may_be_answered_by_a_cache_on_the_node() -> None:
    cache = {"ipBlock": {"cidr": "169.254.20.10/32"}}
    policy = named(render("--set-json", f"networkPolicy.dns={json.dumps([cache])}"), "NetworkPolicy", "names")
    assert policy["spec"]["egress"][0]["to"] == [cache]


def test_names_may_be_answered_at_another_port() -> None:
    policy = named(render("--set", "networkPolicy.dnsPorts={5353}"), "NetworkPolicy", "names")
    ports = policy["spec"]["egress"][0]["ports"]
    assert ports == [{"protocol": protocol, "port": 5353} for protocol in ("UDP", "TCP")]


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
