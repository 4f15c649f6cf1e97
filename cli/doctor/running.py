"""Runs checks one after the other; one that breaks does not keep the others from being made."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from time import monotonic

from cli.doctor.check import Check, Group, Result, failed, skipped
from cli.doctor.site import NotConfiguredError, Site
from contracts.problems import LakemillError

Outcome = tuple[Check, Result]


def run_checks(
    site: Site, checks: Iterable[Check], wanted: Collection[Group] = (), *, clock: Callable[[], float] = monotonic
) -> Iterator[Outcome]:
    """Yield each check of the ``wanted`` groups (none: all) with what it found, as soon as it is known."""
    # The longest first: a URL is hidden whole before its password is.
    secrets = sorted({secret for secret in site.secrets() if secret}, key=len, reverse=True)
    try:
        for check in checks:
            if wanted and check.group not in wanted:
                continue
            began = clock()
            result = _run(site, check, is_wanted=check.group in wanted)
            yield check, replace(result, detail=_line(result.detail, secrets), seconds=clock() - began)
    finally:
        site.close()


def _run(site: Site, check: Check, *, is_wanted: bool) -> Result:
    try:
        return check.run(site)
    except NotConfiguredError as error:
        return failed(str(error)) if is_wanted else skipped(str(error))
    except LakemillError as error:
        return failed(str(error))
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others find
        return failed(f"this check itself broke: {type(error).__name__}: {error}")


def _line(detail: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        detail = detail.replace(secret, "***")
    return " ".join(detail.split())
