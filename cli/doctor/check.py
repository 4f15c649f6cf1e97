"""What a check is, and what one found."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.doctor.site import Site


class Group(StrEnum):
    """One boundary of a deployment; ``--only`` names them."""

    KAFKA = "kafka"
    STORAGE = "storage"
    POSTGRES = "postgres"
    CLUSTER = "cluster"
    IMAGES = "images"
    CALLBACKS = "callbacks"
    CONTRACT = "contract"


class Status(StrEnum):
    """How a check ended. Only ``fail`` makes the command fail."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found: one sentence, and how long it took."""

    status: Status
    detail: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a deployment. ``run`` may raise LakemillError: that is a fail with the error's words."""

    name: str
    """Stable, ``group.what``: scripts and dashboards hold it."""
    group: Group
    question: str
    """What is measured."""
    remedy: str
    """What to do when it does not pass."""
    run: Callable[["Site"], Result]


def passed(detail: str) -> Result:
    """Return a result of a check that found what it wanted."""
    return Result(Status.PASS, detail)


def warned(detail: str) -> Result:
    """Return a result that somebody should look at; nothing is broken by it."""
    return Result(Status.WARN, detail)


def failed(detail: str) -> Result:
    """Return a result that breaks a guarantee, or the deployment."""
    return Result(Status.FAIL, detail)


def skipped(detail: str) -> Result:
    """Return a result of a check that cannot be made from here; ``detail`` says why."""
    return Result(Status.SKIP, detail)


def judged(value: float, detail: str, *, warn_above: float, fail_above: float) -> Result:
    """Return the result of something measured of which less is better."""
    if value > fail_above:
        return failed(detail)
    return warned(detail) if value > warn_above else passed(detail)
