"""A cluster that is a list of rights, and a pod that ends as it is told."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from cli.doctor.cluster import rbac_table
from cli.doctor.site import Options, Site
from resources.cluster.port import ImpersonationError
from resources.cluster.review import Access, PodEnd, PodModel, ShortPod
from resources.settings import ComputeSettings

ADMIN = "kubernetes-admin"
TABLE = rbac_table()


@dataclass
class FakeCluster:
    """Grants what it is told to; keeps what it is asked to run."""

    me: str = ADMIN
    namespace: str = "mill"
    granted: dict[str, Collection[Access]] = field(
        default_factory=lambda: {f"lakemill-{suffix}": needed for suffix, needed in TABLE.items()}
    )
    end: PodEnd = field(default_factory=lambda: PodEnd(0))
    ends: dict[str, PodEnd] = field(default_factory=dict)
    """Of images whose pods end otherwise."""
    image: str | None = "lakemill-compute:1"
    ran: list[ShortPod] = field(default_factory=list)

    def user(self) -> str:
        return self.me

    def version(self) -> str:
        return "v1.34.4"

    def may(self, access: Access, account: str | None = None) -> bool:
        if account is None and self.me == ADMIN:
            return True
        if account is not None and self.me != ADMIN:
            raise ImpersonationError(f"{self.me} may not act as {account!r}")
        return access in self.granted.get(account or self.me.rpartition(":")[2], ())

    def model(self, account: str) -> PodModel | None:
        assert account == "lakemill-code"
        return PodModel(self.image, {"imagePullSecrets": [{"name": "registry"}]}) if self.image else None

    def run(self, pod: ShortPod) -> PodEnd:
        self.ran.append(pod)
        return self.ends.get(pod.image, self.end)


def site(cluster: FakeCluster, jars: Path | None = None, template: Path = Path("/nowhere"), **options: Any) -> Site:
    secret = SecretStr("internal-secret-of-the-tests")
    compute = None
    if jars is not None:
        compute = ComputeSettings(internal_secret=secret, jars_dir=jars, executor_template=template)
    return Site(Options(**options), compute=compute, connect=lambda _: cluster)
