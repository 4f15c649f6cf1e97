"""The compute image: a node can start it, and both sides of a run are made of the same parts."""

import json
from pathlib import Path
from typing import Any

from cli.doctor import facts
from cli.doctor.check import Check, Group, Result, failed, passed, skipped, warned
from cli.doctor.cluster import own_account, release_of
from cli.doctor.site import JARS_SUMS, NotConfiguredError, Site
from resources.cluster_review import Access, PodEnd, PodModel, ShortPod

_PARTS = {"python": 2, "pyspark": None, "hadoop": None, "hadoop_aws": None, "java": 1}
"""Each part with how many numbers of its version must be equal; None is all of them."""
# The image's own folder of jars is in its environment, which only a shell in the pod can see.
_SHELL = 'exec python3 -c "$0" "${LAKEMILL_JARS_DIR:-jars}"'


def _pullable(site: Site) -> Result:
    ended = _pod(site)
    if isinstance(ended, Result):
        return ended
    image = _model(site)[0].image
    if ended.exit_code is None:
        return failed(f"{image}: {ended.problem}")
    return passed(f"{image} starts on a node, under the restricted Pod Security Standard")


def _versions(site: Site) -> Result:
    there = _facts(site)
    if isinstance(there, Result):
        return there
    here = _own_facts(site)
    other = [f"{part} {there[part]} instead of {here[part]}" for part in _PARTS if _differs(part, there, here)]
    if there["hadoop"] != there["hadoop_aws"]:
        other.append(f"hadoop {there['hadoop']} with hadoop-aws {there['hadoop_aws']}")
    if other:
        return failed(f"the image has {', '.join(other)}")
    near = [f"{part} {here[part]}" for part in _PARTS if there[part] != here[part]]
    told = ", ".join(f"{part} {there[part]}" for part in _PARTS)
    return warned(f"{told}; here {', '.join(near)}") if near else passed(told)


def _differs(part: str, there: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether the two sides differ by more than a patch, where a patch does not count."""
    length = _PARTS[part]
    return str(there[part]).split(".")[:length] != str(here[part]).split(".")[:length]


def _jars(site: Site) -> Result:
    there = _facts(site)
    if isinstance(there, Result):
        return there
    wanted, found = spark_sums(), there["jars"]
    wrong = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    wrong += [f"{name} is not in SHA256SUMS" for name in sorted(found.keys() - wanted.keys())]
    wrong += [f"{name} differs" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]]
    if wrong:
        return failed(f"{'; '.join(wrong[:3])}{f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''}")
    return passed(f"all {len(found)} jars are the checked ones")


def spark_sums(path: Path = JARS_SUMS) -> dict[str, str]:
    """Return name → SHA-256 of the jars that Spark needs, as checked in."""
    pairs = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line)
    return {name.removeprefix("spark/"): digest for digest, name in pairs if name.startswith("spark/")}


def _own_facts(site: Site) -> dict[str, Any]:
    if site.compute is None:
        raise NotConfiguredError("the compute plane is not configured here: nothing to compare with")
    return facts.facts(str(site.compute.jars_dir))


def _facts(site: Site) -> dict[str, Any] | Result:
    """Return what the pod printed, or why it did not."""
    ended = _pod(site)
    if isinstance(ended, Result):
        return ended
    if ended.exit_code != 0:
        return failed(f"the image cannot tell: {ended.problem}; {ended.log[-200:]}")
    try:
        told: dict[str, Any] = json.loads(ended.log.splitlines()[-1])
    except (IndexError, ValueError):
        return failed(f"the image printed no versions: {ended.log[-200:]!r}")
    return told


def _pod(site: Site) -> PodEnd | Result:
    """Return the end of the one pod for all checks; a skip when we may not start it. Raises ClusterError."""
    return site.once("pod", lambda: _run_pod(site))


def _run_pod(site: Site) -> PodEnd | Result:
    needed = (
        *(Access("batch", "jobs", verb) for verb in ("create", "delete")),
        Access("", "pods", "list"),
        Access("", "pods/log", "get"),
    )
    if refused := [str(access) for access in needed if not site.cluster.may(access)]:
        who = own_account(site.cluster) or site.cluster.user()
        return skipped(f"{who} may not {', '.join(refused)}, so no pod can be tried")
    model, account = _model(site)
    args = ("sh", "-c", _SHELL, Path(facts.__file__).read_text())
    return site.cluster.run(ShortPod(model.image, args, account, model.spec))


def _model(site: Site) -> tuple[PodModel, str | None]:
    """Return image and place of the release's code location, and the executors' account where there is a release."""
    release = release_of(site)
    found = site.cluster.model(f"{release}-code")
    if found is None:
        if site.options.image is None:
            raise NotConfiguredError(f"no pod of {release}-code is here to take the image from: name it with --image")
        return PodModel(site.options.image, {}), None
    return PodModel(site.options.image or found.image, found.spec), f"{release}-executor"


CHECKS = (
    Check(
        "images.pullable",
        Group.IMAGES,
        "Does a node start the compute image? One small pod is run as the executors are and removed.",
        "Check the image's name and tag, the registry's credentials (images.pullSecrets), quotas, and that its user is "
        "not root.",
        _pullable,
    ),
    Check(
        "images.versions",
        Group.IMAGES,
        "Are Python, PySpark, Hadoop, hadoop-aws and Java in that image the ones of this process?",
        "Deploy one compute image everywhere; run this from it.",
        _versions,
    ),
    Check(
        "images.jars",
        Group.IMAGES,
        "Is each jar of LAKEMILL_JARS_DIR in that image the one of `deploy/jars/SHA256SUMS`?",
        "Build the image anew with `make images`; a jar that differs may be another one than was reviewed.",
        _jars,
    ),
)
