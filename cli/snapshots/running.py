"""Running a command of ``lakemill snapshots``: its ports, its progress, and what goes wrong as message and exit code.

Exit codes of all of them: 0 done, and nothing is amiss; 1 you said no; 2 wrong usage; 3 not configured; 4 refused, or
done and something was found that a person or a script must look at; 5 the database or the lake gave out: say it again.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli import exits
from cli.database import on_database
from cli.settings import read_settings
from contracts.identity import Coordinate, safe_id

if TYPE_CHECKING:
    from rich.progress import Progress

    from resources.database import Database
    from resources.lake.store import Lake
    from resources.settings import ControlSettings

_STATEMENT_SECONDS = 600
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")


def _an_id(value: str | None) -> str | None:
    try:
        return None if value is None else safe_id(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


EntityId = Annotated[str, typer.Argument(help="Whose data it is.", callback=_an_id)]
DataVersion = Annotated[str, typer.Argument(help="Which version of the data.", callback=_an_id)]
SomeEntity = Annotated[str | None, typer.Argument(help="Of this entity only: much less is listed.", callback=_an_id)]
SomeVersion = Annotated[str | None, typer.Argument(help="Of this version only.", callback=_an_id)]
Dataset = Annotated[str, typer.Argument(help="Which dataset.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a text.")]


def coordinate(entity_id: str, data_version: str, dataset: str) -> Coordinate:
    """Return the coordinate; one that is none is wrong usage."""
    try:
        return Coordinate(entity_id, data_version, dataset)
    except ValueError as error:
        raise typer.BadParameter(f"{entity_id}/{data_version}/{dataset}: {error}") from None


def on_lake(work: "Callable[[Lake], _Result]") -> _Result:
    """Return what ``work`` returns; it needs the lake's settings only."""
    from resources.lake.store import LakeError, S3Lake
    from resources.settings import lake_settings

    settings = read_settings(lake_settings)
    with exits.told(LakeError):
        return work(S3Lake(settings, settings.lake_bucket))


def on_both_planes(work: "Callable[[Database, Lake, ControlSettings], Awaitable[_Result]]") -> _Result:
    """Return what ``work`` returns; it needs the control plane's settings."""
    from resources.lake.store import LakeError, S3Lake

    async def with_lake(db: "Database", settings: "ControlSettings") -> _Result:
        return await work(db, S3Lake(settings, settings.lake_bucket), settings)

    return on_database(with_lake, LakeError, statement_seconds=_STATEMENT_SECONDS)


def say(told: str) -> None:
    """Tell a person, and leave what a script reads alone."""
    typer.echo(told, err=True)


@contextmanager
def progress_bar() -> "Iterator[Progress]":
    """Yield where progress is shown; it shows nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress


def counted(items: Iterable[_Item], description: str, total: int | None = None) -> list[_Item]:
    """Return the items as a list, and show how they come."""
    with progress_bar() as progress:
        return list(progress.track(items, total=total, description=description))
