"""Which storage contracts the lake's snapshots were written by."""

from collections import Counter
from itertools import islice

from cli.doctor.check import Check, Group, Result, failed, passed, warned
from cli.doctor.site import Site
from cli.doctor.storage import reached
from contracts.delta_entry import VERSION_PROPERTY
from contracts.storage import STORAGE_CONTRACT_VERSION, committed_at_key
from contracts.strict_json import loads
from resources.lake.store import S3Lake

MAX_KEYS = 20_000
MAX_COMMITS = 100


def _versions(site: Site) -> Result:
    lake = S3Lake(reached(site), site.lake.lake_bucket)
    keys = (found.key for found in islice(lake.list(""), MAX_KEYS) if committed_at_key(found.key))
    found = {key: _version(lake.get(key) or b"") for key in islice(keys, MAX_COMMITS)}
    nameless = [key for key, version in found.items() if version is None]
    if nameless:
        first = lake.url(nameless[0])
        return failed(f"{len(nameless)} of {len(found)} commits name no storage contract, first: {first}")
    counts = Counter(version for version in found.values() if version is not None)
    told = ", ".join(f"{count} of version {version}" for version, count in sorted(counts.items()))
    if set(counts) - {str(STORAGE_CONTRACT_VERSION)}:
        return warned(f"commits of an unknown version: {told}; this Lakemill knows {STORAGE_CONTRACT_VERSION}")
    return passed(f"commits looked at: {told or 'none'}, among the first {MAX_KEYS} keys at most")


def _version(commit: bytes) -> str | None:
    try:
        actions = [loads(line) for line in commit.splitlines()]
        (metadata,) = (action["metaData"] for action in actions if "metaData" in action)
        return str(metadata["configuration"][VERSION_PROPERTY])
    except (KeyError, TypeError, ValueError):
        return None


CHECKS = (
    Check(
        "contract.versions",
        Group.CONTRACT,
        f"Which storage contracts do commits in the lake name? ({MAX_COMMITS} commits at most.)",
        "Upgrade Lakemill to read newer snapshots; a commit without a version was not written by Lakemill: see "
        "docs/storage-contract.md.",
        _versions,
    ),
)
