"""How the tests ask the doctor, and the list of checks that were proven able to fail."""

from collections.abc import Callable
from typing import TypeVar

from cli.doctor.check import Group, Result
from cli.doctor.checks import ALL
from cli.doctor.running import run_checks
from cli.doctor.site import Site

PROVEN: set[str] = set()
_Test = TypeVar("_Test", bound=Callable[..., object])


def proves(*names: str) -> Callable[[_Test], _Test]:
    """Say of a test that each of these checks does not pass in it."""
    PROVEN.update(names)
    return lambda test: test


def ask(site: Site, name: str, *, wanted: bool = False) -> Result:
    """Return what one check finds; ``wanted`` as if its group had been named with ``--only``."""
    (check,) = (check for check in ALL if check.name == name)
    ((_, result),) = run_checks(site, [check], {check.group} if wanted else ())
    return result


def ask_group(site: Site, group: Group) -> dict[str, Result]:
    """Return what each check of a group finds."""
    return {check.name: result for check, result in run_checks(site, ALL, {group})}
