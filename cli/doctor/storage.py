"""The object store: what a snapshot's commit rests on, the rights that are needed, the rules that may delete."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cli.doctor.check import Check, Group, Result, failed, judged, passed, skipped, warned
from cli.doctor.racing import race
from cli.doctor.scratch import scratch
from cli.doctor.site import Site
from cli.doctor.tls import tls_result
from contracts.storage import RETIRED_PREFIX
from resources.lake.probe import PART_BYTES, LakeProbe, LifecycleRule, LifecycleUnsupportedError
from resources.lake.store import LakeAccessError, PutOutcome, S3Lake
from resources.settings import LakeSettings

SKEW_WARN_SECONDS, SKEW_FAIL_SECONDS = 2.0, 5.0
_LONGEST_UPLOAD_DAYS = 7
_GRACE_SECONDS = 1.0
_MARK = b"lakemill doctor"


def _lake_rights(site: Site) -> Result:
    lake = _lake(site)
    with scratch(lake) as prefix:
        key = f"{prefix}rights"
        lake.put(key, _MARK)
        if [found.key for found in lake.list(prefix)] != [key]:
            return failed(f"{lake.url(key)} was written and does not appear in a listing")
        if lake.get(key) != _MARK:
            return failed(f"{lake.url(key)} does not read back as it was written")
    return passed(f"bucket {site.lake.lake_bucket!r}: put, list, get and delete")


def _landing_rights(site: Site) -> Result:
    bucket = site.lake.landing_bucket
    probe = LakeProbe(reached(site), bucket)
    keys = probe.some_keys(1)
    if not keys:
        return passed(f"bucket {bucket!r}: list; it is empty, so reading was not tried")
    probe.first_byte(keys[0])
    return passed(f"bucket {bucket!r}: list and get")


def _logs_rights(site: Site) -> Result:
    bucket = site.options.logs_bucket
    if bucket is None:
        return skipped("name the bucket of Dagster's compute logs with --logs")
    logs = S3Lake(reached(site), bucket)
    with scratch(logs) as prefix:
        logs.put(f"{prefix}rights", _MARK)
        if logs.get(f"{prefix}rights") != _MARK:
            return failed(f"bucket {bucket!r}: what was written does not read back")
    return passed(f"bucket {bucket!r}: put, get and delete")


def _conditional_put(site: Site) -> Result:
    lake, writers, rounds = _lake(site), site.options.writers, site.options.rounds
    with scratch(lake) as prefix, ThreadPoolExecutor(writers) as pool:
        faults = [fault for number in range(rounds) if (fault := race(lake, f"{prefix}{number}", pool, writers))]
    if faults:
        return failed(f"not atomic: in {len(faults)} of {rounds} rounds, first: {faults[0]}")
    return passed(f"{writers} writers x {rounds} rounds: one winner each, and its bytes are stored")


def _presigned_conditional(site: Site) -> Result:
    lake = _lake(site)
    with scratch(lake) as prefix:
        lake.put(f"{prefix}taken", _MARK)
        outcome = lake.presign_commit(f"{prefix}taken", 60).send(b"intruder")
        kept = lake.get(f"{prefix}taken") == _MARK
    if outcome is not PutOutcome.EXISTS or not kept:
        change = "as it was" if kept else "another one now"
        return failed(f"a conditional PUT on a taken key ended as {outcome.value!r}; the object is {change}")
    return passed("a presigned conditional PUT on a taken key is refused with 412")


def _presigned_expiry(site: Site) -> Result:
    lake = _lake(site)
    # A store whose clock is behind ours takes the URL that much longer; that is the clock check's finding.
    lag = min(max(0.0, -LakeProbe(site.lake, site.lake.lake_bucket).skew_seconds()), SKEW_FAIL_SECONDS)
    with scratch(lake) as prefix:
        signed = lake.presign_commit(f"{prefix}late", 1)
        late = (signed.expires_at - datetime.now(UTC)).total_seconds() + lag + _GRACE_SECONDS
        site.sleep(max(0.0, late))
        outcome = signed.send(_MARK)
        is_there = lake.get(f"{prefix}late") is not None
    if outcome is not PutOutcome.EXPIRED or is_there:
        return failed(f"a presigned PUT sent {lag + _GRACE_SECONDS:.1f} s after its end ended as {outcome.value!r}")
    return passed("a presigned PUT is refused once its time is over")


def _multipart(site: Site) -> Result:
    lake, probe = _lake(site), LakeProbe(site.lake, site.lake.lake_bucket)
    with scratch(lake) as prefix:
        size = probe.upload_in_parts(f"{prefix}parts")
        is_gone = probe.abort_upload(f"{prefix}aborted")
        is_unseen = lake.get(f"{prefix}aborted") is None
    if size != PART_BYTES + len(b"end"):
        return failed(f"an upload in two parts has {size} bytes instead of {PART_BYTES + 3}")
    if not is_gone or not is_unseen:
        return failed("an aborted upload is still there")
    return passed("an upload in two parts is completed; an aborted one leaves nothing")


def _lifecycle(site: Site) -> Result:
    try:
        rules = LakeProbe(reached(site), site.lake.lake_bucket).lifecycle()
    except (LifecycleUnsupportedError, LakeAccessError) as error:
        return warned(f"cannot be checked: {error}")
    deadly = [rule.name for rule in rules if rule.removes_current and _hits_what_stays(rule)]
    if deadly:
        return failed(f"rule {', '.join(map(repr, deadly))} expires or archives published snapshots or tombstones")
    aborting = [rule.abort_days for rule in rules if rule.abort_days is not None and not rule.prefix]
    if not aborting:
        return warned("no rule expires published data, and none aborts uploads that were never completed")
    if min(aborting) < _LONGEST_UPLOAD_DAYS:
        return warned(f"uploads are aborted after {min(aborting)} days: a run that writes longer would lose its own")
    return passed(f"no rule expires published data; uploads are aborted after {min(aborting)} days")


def _hits_what_stays(rule: LifecycleRule) -> bool:
    # An entity_id begins with a letter or a digit, so nothing below '_' is a snapshot; a tombstone lies there.
    hits_tombstones = rule.prefix.startswith(RETIRED_PREFIX) or RETIRED_PREFIX.startswith(rule.prefix)
    return not rule.is_for_tagged and (hits_tombstones or not rule.prefix.startswith("_"))


def _tls(site: Site) -> Result:
    endpoint = urlsplit(reached(site).s3_endpoint or "https://")  # without one it is AWS's own
    hosts = [endpoint.hostname or ""]
    return tls_result(endpoint.scheme, hosts, "objects and presigned URLs", is_encrypted=endpoint.scheme == "https")


def _clock(site: Site) -> Result:
    skew = LakeProbe(reached(site), site.lake.lake_bucket).skew_seconds()
    return clock_result("the store's", skew)


def clock_result(whose: str, skew: float) -> Result:
    """Return the judgement of a clock that is ``skew`` seconds ahead of this host's."""
    direction = "ahead of" if skew > 0 else "behind"
    detail = f"{whose} clock is {abs(skew):.1f} s {direction} this host's"
    return judged(abs(skew), detail, warn_above=SKEW_WARN_SECONDS, fail_above=SKEW_FAIL_SECONDS)


def reached(site: Site) -> LakeSettings:
    """Return the settings of a store that answers, be it with a refusal. Raises LakeUnavailableError."""

    def ask() -> None:
        with suppress(LakeAccessError):
            LakeProbe(site.lake, site.lake.lake_bucket).some_keys(1)

    site.once("store", ask)
    return site.lake


def _lake(site: Site) -> S3Lake:
    return S3Lake(reached(site), site.lake.lake_bucket)


CHECKS = (
    Check(
        "storage.lake_rights",
        Group.STORAGE,
        "May these credentials write, list, read and delete below `_lakemill/doctor/` in the lake?",
        "Check LAKEMILL_LAKE_BUCKET, the credentials and the bucket policy: s3:PutObject, s3:GetObject, s3:ListBucket "
        "on the lake, and s3:DeleteObject at least below _lakemill/doctor/.",
        _lake_rights,
    ),
    Check(
        "storage.landing_rights",
        Group.STORAGE,
        "May they list and read the landing bucket?",
        "Check LAKEMILL_LANDING_BUCKET and allow s3:ListBucket and s3:GetObject on it.",
        _landing_rights,
    ),
    Check(
        "storage.logs_rights",
        Group.STORAGE,
        "May they write and read the bucket of Dagster's compute logs (named with `--logs`)?",
        "Allow s3:PutObject and s3:GetObject on it; without them logs end with their pod.",
        _logs_rights,
    ),
    Check(
        "storage.conditional_put",
        Group.STORAGE,
        "Does exactly one of N writers win a key, in each of M rounds (`--writers`, `--rounds`), and are its bytes "
        "stored?",
        "Do not use this store: a commit must have one winner. Behind a proxy or gateway, ask the store itself.",
        _conditional_put,
    ),
    Check(
        "storage.presigned_conditional",
        Group.STORAGE,
        "Is a presigned conditional PUT on a taken key refused with 412, the object untouched?",
        "Do not use this store: If-None-Match must be honoured in presigned requests.",
        _presigned_conditional,
    ),
    Check(
        "storage.presigned_expiry",
        Group.STORAGE,
        "Is a presigned PUT refused once its time is over?",
        "Do not use this store, or mend its clock: a commit permit ends with the URL.",
        _presigned_expiry,
    ),
    Check(
        "storage.multipart",
        Group.STORAGE,
        "Is a multipart upload completed, and does an aborted one leave nothing?",
        "Allow s3:AbortMultipartUpload and s3:ListBucketMultipartUploads; Spark's committer cannot work without.",
        _multipart,
    ),
    Check(
        "storage.lifecycle",
        Group.STORAGE,
        "Do the lake's lifecycle rules spare published snapshots and tombstones, and abort uploads that were never "
        "completed?",
        f"Remove every rule that expires or archives current objects outside `_…/`, or in `{RETIRED_PREFIX}`; add one "
        f"that aborts incomplete uploads after {_LONGEST_UPLOAD_DAYS} days or more.",
        _lifecycle,
    ),
    Check(
        "storage.tls",
        Group.STORAGE,
        "Is the connection to the store encrypted, unless it stays on this host?",
        "Use the store's https address in LAKEMILL_S3_ENDPOINT, and LAKEMILL_S3_CA_FILE for an authority of your own.",
        _tls,
    ),
    Check(
        "storage.clock",
        Group.STORAGE,
        f"How far are the store's and this host's clocks apart (warn above {SKEW_WARN_SECONDS:g} s, fail above "
        f"{SKEW_FAIL_SECONDS:g} s)?",
        "Keep both hosts in step with NTP: signatures and commit permits depend on it.",
        _clock,
    ),
)
