"""The images of the compute plane: a node can start them, and both sides of a run are made of the same parts."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cli.doctor import facts
from cli.doctor.check import Check, Group, Result, Status, failed, passed, skipped, warned
from cli.doctor.cluster import own_account, release_of
from cli.doctor.site import JARS_SUMS, NotConfiguredError, Site
from resources.cluster.review import Access, PodEnd, ShortPod

_PARTS = {"python": 2, "pyspark": None, "hadoop": None, "hadoop_aws": None, "java": 1}
"""Each part with how many numbers of its version must be equal; None is all of them."""
_NEEDED = (
    *(Access("batch", "jobs", verb) for verb in ("create", "delete")),
    Access("", "pods", "list"),
    Access("", "pods/log", "get"),
)
_PLACE = ("imagePullSecrets", "nodeSelector", "affinity", "tolerations", "priorityClassName")
_BY_WEIGHT = (Status.PASS, Status.SKIP, Status.WARN, Status.FAIL)
# The image's own folder of jars is in its environment, which only a shell in the pod can see.
_SHELL = 'exec python3 -c "$0" "${LAKEMILL_JARS_DIR:-jars}"'


def _pullable(_site: Site, pod: PodEnd) -> Result:
    if pod.exit_code is None:
        return failed(pod.problem)
    return passed("starts on a node, under the restricted Pod Security Standard")


def _versions(site: Site, pod: PodEnd) -> Result:
    there = _facts(pod)
    if isinstance(there, Result):
        return there
    here = _own_facts(site)
    other = [f"{part} {there[part]} instead of {here[part]}" for part in _PARTS if _differs(part, there, here)]
    if there["hadoop"] != there["hadoop_aws"]:
        other.append(f"hadoop {there['hadoop']} with hadoop-aws {there['hadoop_aws']}")
    if other:
        return failed(f"has {', '.join(other)}")
    near = [f"{part} {here[part]}" for part in _PARTS if there[part] != here[part]]
    told = ", ".join(f"{part} {there[part]}" for part in _PARTS)
    return warned(f"{told}; here {', '.join(near)}") if near else passed(told)


def _differs(part: str, there: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether the two sides differ by more than a patch, where a patch does not count."""
    length = _PARTS[part]
    return str(there[part]).split(".")[:length] != str(here[part]).split(".")[:length]


def _jars(_site: Site, pod: PodEnd) -> Result:
    there = _facts(pod)
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


def _facts(pod: PodEnd) -> dict[str, Any] | Result:
    """Return what the pod printed, or why it did not."""
    if pod.exit_code != 0:
        return failed(f"cannot tell: {pod.problem}; {pod.log[-200:]}")
    try:
        told: dict[str, Any] = json.loads(pod.log.splitlines()[-1])
    except (IndexError, ValueError):
        return failed(f"printed no versions: {pod.log[-200:]!r}")
    return told


def _of_each_image(judge: Callable[[Site, PodEnd], Result]) -> Callable[[Site], Result]:
    """Return a check that judges a pod of each image, one for all checks: the worst result counts.

    It skips when we may not start pods.
    """

    def run(site: Site) -> Result:
        if refused := [str(access) for access in _NEEDED if not site.cluster.may(access)]:
            who = own_account(site.cluster) or site.cluster.user()
            return skipped(f"{who} may not {', '.join(refused)}, so no pod can be tried")
        images = _images(site)
        # Together: one that cannot be pulled takes all the time that a pod may, and `helm test` has little more.
        with ThreadPoolExecutor(len(images)) as pool:
            found = dict(zip(images, pool.map(lambda image: judge(site, _pod(site, image)), images), strict=True))
        worst = max((result.status for result in found.values()), key=_BY_WEIGHT.index)
        told = [f"{image}: {result.detail}" for image, result in found.items() if result.status is worst]
        return Result(worst, "; ".join(told))

    return run


def _images(site: Site) -> list[str]:
    """Return the image that was named; else the release's and those that actions may name."""
    from assets.profiles import load_images

    if site.options.image is not None:
        return [site.options.image]
    release = release_of(site)
    found = site.cluster.model(f"{release}-code")
    if found is None:
        raise NotConfiguredError(f"no pod of {release}-code is here to take the image from: name it with --image")
    return list(dict.fromkeys((found.image, *load_images().values())))


def _pod(site: Site, image: str) -> PodEnd:
    """Return the end of a pod of ``image``, placed as executors are, or else as the release's code location is."""
    release = release_of(site)
    found = site.cluster.model(f"{release}-code")
    account, spec = (f"{release}-executor", _executors_place(site) or found.spec) if found else (None, {})
    pod = ShortPod(image, ("sh", "-c", _SHELL, Path(facts.__file__).read_text()), account, spec)
    return site.once(f"pod of {image}", lambda: site.cluster.run(pod))


def _executors_place(site: Site) -> dict[str, Any]:
    """Return what the executors' template, where it is mounted, says of the nodes that they may be on."""
    import yaml  # which the control image lacks

    template = site.compute.executor_template if site.compute else None
    if template is None or not template.exists():
        return {}
    spec: dict[str, Any] = yaml.safe_load(template.read_text())["spec"]
    return {name: spec[name] for name in _PLACE if name in spec}


CHECKS = (
    Check(
        "images.pullable",
        Group.IMAGES,
        "Does a node start the compute image, and each image that an action may name? One small pod of each is run as "
        "the executors are and removed.",
        "Check the image's name and tag, the registry's credentials (images.pullSecrets), quotas, and that its user is "
        "not root.",
        _of_each_image(_pullable),
    ),
    Check(
        "images.versions",
        Group.IMAGES,
        "Are Python, PySpark, Hadoop, hadoop-aws and Java in these images the ones of this process?",
        "Deploy one compute image everywhere; run this from it.",
        _of_each_image(_versions),
    ),
    Check(
        "images.jars",
        Group.IMAGES,
        "Is each jar of LAKEMILL_JARS_DIR in these images the one of `deploy/jars/SHA256SUMS`?",
        "Build the image anew with `make images`; a jar that differs may be another one than was reviewed.",
        _of_each_image(_jars),
    ),
)
