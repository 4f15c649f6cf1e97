"""The Kubernetes API: each service account may do what deploy/chart/rbac.yaml says, and nothing more of that."""

from collections.abc import Callable, Mapping
from pathlib import Path

from cli.doctor.check import Check, Group, Result, failed, passed, skipped
from cli.doctor.site import RBAC, NotConfiguredError, Site
from resources.cluster.port import ImpersonationError
from resources.cluster.review import Access, ClusterReview

DEFAULT_RELEASE = "lakemill"
ACCOUNTS = ("launcher", "webserver", "run", "control", "executor", "code")
_PREFIX = "system:serviceaccount:"

Table = Mapping[str, frozenset[Access]]


def rbac_table(path: Path = RBAC) -> Table:
    """Return what each account needs, by the account's suffix. Raises NotConfiguredError without the file."""
    import yaml

    if not path.exists():
        raise NotConfiguredError("deploy/chart/rbac.yaml is not in this image")
    rules = yaml.safe_load(path.read_text())
    return {
        account: frozenset(
            Access(group, resource, verb)
            for rule in needed
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        )
        for account, needed in rules.items()
    }


def release_of(site: Site) -> str:
    """Return the release's full name: what ``--release`` says, or what our own service account is named after."""
    account = own_account(site.cluster)
    if site.options.release:
        return site.options.release
    stems = [account.removesuffix(f"-{suffix}") for suffix in ACCOUNTS if account and account.endswith(f"-{suffix}")]
    return stems[0] if stems else DEFAULT_RELEASE


def own_account(cluster: ClusterReview) -> str:
    """Return the service account of the namespace that we are; empty when we are somebody else."""
    user = cluster.user()
    return user.removeprefix(f"{_PREFIX}{cluster.namespace}:") if user.startswith(_PREFIX) else ""


def _reachable(site: Site) -> Result:
    cluster = site.cluster
    return passed(f"Kubernetes {cluster.version()}, namespace {cluster.namespace}, as {cluster.user()}")


def _may(suffix: str) -> Callable[[Site], Result]:
    def run(site: Site) -> Result:
        account = f"{release_of(site)}-{suffix}"
        needed = rbac_table()[suffix]
        refused = _reviewed(site, account, needed, is_wanted=True)
        if isinstance(refused, Result):
            return refused
        if refused:
            return failed(f"{account} may not {', '.join(refused)}")
        return passed(f"{account} may do all {len(needed)} things that it needs")

    return run


def _no_more(site: Site) -> Result:
    release, table = release_of(site), rbac_table()
    listed = frozenset(access for needed in table.values() for access in needed)
    for suffix in ACCOUNTS:
        account = f"{release}-{suffix}"
        granted = _reviewed(site, account, listed - table.get(suffix, frozenset()), is_wanted=False)
        if isinstance(granted, Result):
            return granted
        if granted:
            return failed(f"{account} may {', '.join(granted)}")
    return passed(f"of {len(listed)} things no account of {', '.join(ACCOUNTS)} may do more than it needs")


def _reviewed(site: Site, account: str, accesses: frozenset[Access], *, is_wanted: bool) -> list[str] | Result:
    """Return what is not as wanted, or a skip when we may not ask for that account."""
    cluster = site.cluster
    acting = None if own_account(cluster) == account else account
    try:
        return [str(access) for access in sorted(accesses) if cluster.may(access, acting) is not is_wanted]
    except ImpersonationError as error:
        return skipped(f"{error}; run this with a kubeconfig that may impersonate service accounts")


_INSTALL_ROLES = (
    "Install the chart's Roles and RoleBindings; name the release with --release and its namespace with --namespace."
)
CHECKS = (
    Check(
        "cluster.reachable",
        Group.CLUSTER,
        "Does the Kubernetes API answer, and who are we to it?",
        "Run this in a pod with a token, or with KUBECONFIG; open the way to the API server.",
        _reachable,
    ),
    Check(
        "cluster.launcher_rights",
        Group.CLUSTER,
        "May the launcher (Dagster's daemon) do what `deploy/chart/rbac.yaml` says? One access review per verb, as "
        "itself or by impersonation.",
        _INSTALL_ROLES,
        _may("launcher"),
    ),
    Check(
        "cluster.webserver_rights",
        Group.CLUSTER,
        "May the internal webserver do what `deploy/chart/rbac.yaml` says, so that it can end runs?",
        _INSTALL_ROLES,
        _may("webserver"),
    ),
    Check(
        "cluster.run_rights",
        Group.CLUSTER,
        "May a run pod do what `deploy/chart/rbac.yaml` says, so that Spark can make executors?",
        _INSTALL_ROLES,
        _may("run"),
    ),
    Check(
        "cluster.no_more_rights",
        Group.CLUSTER,
        "Is every account (control, executor and code too) refused what only others need?",
        "Take away what binds another role to it, or to every service account of the namespace: who may make pods may "
        "use every Secret there.",
        _no_more,
    ),
)
