"""Asking the API until something is over. The work goes on without us: an API that is busy or away is asked again."""

import time
from collections.abc import Callable
from typing import Any

import typer

from cli.client import ApiBusyError, ApiUnreachableError
from contracts.problems import LakemillError

Document = dict[str, Any]


class LateError(LakemillError):
    """It was not over in time. It may be yet: watch it again."""


def poll(
    ask: Callable[[], Document],
    is_over: Callable[[Document], bool],
    tell: Callable[[Document], None],
    *,
    what: str,
    seconds: float,
    pause: float,
) -> Document:
    """Ask every ``pause`` seconds until the answer ``is_over``, and return it; ``tell`` is given every answer.

    What is in the way is told once, on stderr. Raises LateError after ``seconds``, and ApiError when it is refused.
    """
    deadline = time.monotonic() + seconds
    seen, in_the_way = "not seen yet", set[str]()
    while True:
        wait, met = pause, ""
        try:
            found = ask()
        except (ApiBusyError, ApiUnreachableError) as error:
            wait, met = max(pause, error.retry_after), str(error)
            if met not in in_the_way:
                typer.echo(f"lakemill: asking again: {met}", err=True)
            in_the_way.add(met)
        else:
            tell(found)
            if is_over(found):
                return found
            seen = f"still {found['state']}"
        left = deadline - time.monotonic()
        if left <= 0:
            raise LateError(f"{what}: {seen} after {seconds:.0f} s" + (f"; last met: {met}" if met else ""))
        time.sleep(min(wait, left))
