"""What Kubernetes makes of pods and NetworkPolicies, in the small part that the chart needs: read, not asked."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

import yaml

from tests.e2e.k8s.helm import CHART, Manifest, containers

METADATA = tuple(map(ip_network, yaml.safe_load((CHART / "network.yaml").read_text())["metadata"]))
_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"}


def violations(pod: Manifest) -> Iterator[str]:
    """Yield where a pod falls short of Pod Security "restricted", and of a read-only root file system."""
    spec = pod["spec"]
    security = spec.get("securityContext", {})
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    for volume in spec.get("volumes", []):
        yield from (f"volume {kind}" for kind in volume.keys() - {"name"} - _VOLUMES)
    for container in containers(pod):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{container['name']}: may get more rights"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']}: capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']}: root file system"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{container['name']}: port of the host"


class Network:
    """The NetworkPolicies of one release, asked as a network would."""

    def __init__(self, objects: Iterable[Manifest]) -> None:
        """Keep the policies among ``objects``."""
        self.policies = [found["spec"] for found in objects if found["kind"] == "NetworkPolicy"]

    def admits(self, sender: Mapping[str, str], receiver: Mapping[str, str], port: int) -> bool:
        """Whether a pod with the labels ``sender`` reaches ``port`` of one with the labels ``receiver``."""
        out = any(_opens(rule, "to", receiver, port) for rule in self.rules(sender, "egress"))
        return out and any(_opens(rule, "from", sender, port) for rule in self.rules(receiver, "ingress"))

    def rules(self, labels: Mapping[str, str], direction: str) -> Iterator[Manifest]:
        """Yield the rules for pods with these labels."""
        for policy in self.policies:
            if _selects(policy["podSelector"], labels):
                yield from policy.get(direction) or []

    def is_closed(self, labels: Mapping[str, str]) -> bool:
        """Whether both directions are denied to these pods but for what a rule opens."""
        types = {kind for policy in self.policies if _selects(policy["podSelector"], labels) for kind in _types(policy)}
        return types == {"Ingress", "Egress"}

    def blocks(self) -> Iterator[Manifest]:
        """Yield every block of addresses that a rule opens."""
        for policy in self.policies:
            for rule in [*(policy.get("egress") or []), *(policy.get("ingress") or [])]:
                yield from (peer["ipBlock"] for peer in _peers(rule) if "ipBlock" in peer)


def holds_metadata(block: Manifest) -> bool:
    """Whether a block of addresses holds one at which a cloud gives credentials to whoever asks."""
    inside = [network for network in METADATA if network.overlaps(ip_network(block["cidr"]))]
    return any(not any(_within(network, hole) for hole in block.get("except", [])) for network in inside)


def _within(network: Any, outer: str) -> bool:
    around = ip_network(outer)
    return bool(network.version == around.version and network.subnet_of(around))


def _opens(rule: Manifest, side: str, labels: Mapping[str, str], port: int) -> bool:
    ports = [entry["port"] for entry in rule.get("ports", [])]
    peers = rule.get(side)
    own = [peer["podSelector"] for peer in peers or [] if set(peer) == {"podSelector"}]
    named = not peers or any(_selects(selector, labels) for selector in own)
    return named and (not ports or port in ports)


def _peers(rule: Manifest) -> list[Manifest]:
    return [*rule.get("to", []), *rule.get("from", [])]


def _types(policy: Manifest) -> list[str]:
    types: list[str] = policy["policyTypes"]
    return types


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
