"""How the tests ask the doctor, and how they prove that a check can fail: by seeing it fail."""

import sys
from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import ParamSpec

from cli.doctor.check import Check, Group, Result, Status
from cli.doctor.checks import ALL
from cli.doctor.running import run_checks
from cli.doctor.site import Site

_Arguments = ParamSpec("_Arguments")
PROOFS: list[tuple[Callable[..., None], tuple[str, ...]]] = []
"""Each test that ``proves`` checks, and which."""
_SEEN: list[tuple[str, Result]] = []
"""What was asked since a test that proves something began."""


def proves(*names: str) -> Callable[[Callable[_Arguments, None]], Callable[_Arguments, None]]:
    """Hold a test, and each of its cases, to having asked each of these checks and seen it fail or warn."""

    def held(test: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
        @wraps(test)
        def run(*args: _Arguments.args, **named: _Arguments.kwargs) -> None:
            _SEEN.clear()
            test(*args, **named)
            unproven = set(names) - {name for name, result in _SEEN if result.status in (Status.WARN, Status.FAIL)}
            assert not unproven, f"this test never saw {', '.join(sorted(unproven))} fail or warn"

        PROOFS.append((run, names))
        return run

    return held


def proven() -> set[str]:
    """Return the checks that are proven wherever the tests run; of the test modules that are imported."""
    return {name for test, names in PROOFS if not _marks(test) & {"k8s", "skip", "skipif"} for name in names}


def _marks(test: Callable[..., None]) -> set[str]:
    of_module = getattr(sys.modules[test.__module__], "pytestmark", [])
    marks = [*getattr(test, "pytestmark", []), *(of_module if isinstance(of_module, list) else [of_module])]
    return {mark.name for mark in marks}


def ask(site: Site, name: str, *, wanted: bool = False) -> Result:
    """Return what one check finds; ``wanted`` as if its group had been named with ``--only``."""
    (check,) = (check for check in ALL if check.name == name)
    return _asked(site, [check], {check.group} if wanted else ())[name]


def ask_group(site: Site, group: Group) -> dict[str, Result]:
    """Return what each check of a group finds; one that lacks its settings skips, so that this proves nothing."""
    return _asked(site, [check for check in ALL if check.group is group])


def _asked(site: Site, checks: Iterable[Check], wanted: Collection[Group] = ()) -> dict[str, Result]:
    found = {check.name: result for check, result in run_checks(site, checks, wanted)}
    # A check that breaks fails too, and has found nothing.
    assert [result.detail for result in found.values() if "this check itself broke" in result.detail] == []
    _SEEN.extend(found.items())
    return found
