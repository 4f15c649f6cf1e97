"""``lakemill dead-letters …``: records of Kafka that could not be taken in. Talks to the control plane's database."""

import json
import sys
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import exits
from cli.database import administrator, in_database, on_database
from contracts.intake import LogPosition

if TYPE_CHECKING:
    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from control.log.dead_letters import Wanted
    from control.log.redriving import Redriven
    from resources.database import Database
    from resources.settings import ControlSettings

app = typer.Typer(no_args_is_help=True, help="Records of Kafka that could not be taken in.")

_PAGE = 500
_SHOWN_BYTES = 4096


def _place(text: str) -> LogPosition:
    try:
        return LogPosition.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


_Place = Annotated[Any, typer.Argument(parser=_place, metavar="PLACE", help="Where it lies, as 'ls' shows it.")]
_Code = Annotated[str | None, typer.Option(help="Those with this code.")]
_Topic = Annotated[str | None, typer.Option(help="Those of this topic.")]
_Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Those put aside since then, in UTC."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a text.")]


@app.command("ls")
def list_letters(
    code: _Code = None,
    topic: _Topic = None,
    since: _Since = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 50,
    after: Annotated[
        Any, typer.Option(parser=_place, metavar="PLACE", help="Go on behind the last one of the list before.")
    ] = None,
    *,
    with_redriven: Annotated[bool, typer.Option("--all", help="Those that were redriven too.")] = False,
    as_json: _Json = False,
) -> None:
    """List dead letters, newest first."""
    from control.log import dead_letters

    wanted = _wanted(code, topic, since, with_redriven=with_redriven)
    found = in_database(lambda conn: dead_letters.page(conn, wanted, limit=limit, after=after))
    if as_json:
        typer.echo(json.dumps([_facts(row) for row in found], indent=1))
        return
    for row in found:
        facts = _facts(row)
        done = " (redriven)" if facts["redriven_at"] else ""
        typer.echo(f"{facts['place']}  {facts['created_at']}  {facts['topic']}  {facts['code']}{done}")
        typer.echo(f"    {shown(facts['message'])}")


@app.command()
def show(
    place: _Place,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Write the value's bytes as they were, and nothing else.")] = False,
    as_json: _Json = False,
) -> None:
    """Show why a record was put aside, its headers, key and value."""
    from control.log import dead_letters

    row = in_database(lambda conn: dead_letters.get(conn, place))
    record = dead_letters.kept_record(row)
    if raw:
        sys.stdout.buffer.write(record.value or b"")
        sys.stdout.buffer.flush()
        return
    facts = _facts(row)
    if as_json:
        bodies = {"key": _base64(record.key), "value": _base64(record.value)}
        headers = [header.model_dump(mode="json") for header in record.headers]
        typer.echo(json.dumps({**facts, **bodies, "headers": headers}, indent=1))
        return
    for name, value in facts.items():
        if value is not None:
            typer.echo(f"{name}: {shown(str(value))}")
    for header in record.headers:
        typer.echo(f"header {_bytes(header.name)}: {_bytes(header.value)}")
    typer.echo(f"key: {_bytes(record.key)}")
    typer.echo(f"value: {_bytes(record.value)}")


@app.command()
def redrive(
    place: Annotated[Any, typer.Argument(parser=_place, metavar="[PLACE]", help="Only the one there.")] = None,
    code: _Code = None,
    topic: _Topic = None,
    since: _Since = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: _Json = False,
) -> None:
    """Let records be judged again: one, or all that match. Exit 1 when one of them stays a dead letter."""
    if place is not None and (code or topic or since):
        raise typer.BadParameter("name a place, or which ones, not both")
    wanted = _wanted(code, topic, since)
    places = [place] if place is not None else in_database(lambda conn: _places(conn, wanted))
    if place is None and places and not yes:
        typer.confirm(f"Redrive {len(places)} dead letters?", abort=True, err=True)
    found = on_database(lambda db, settings: _redrive(db, settings, places))
    if as_json:
        typer.echo(
            json.dumps([{"place": str(e.place), "redriven": e.is_done, "told": e.told} for e in found], indent=1)
        )
    else:
        for each in found:
            typer.echo(f"{each.place}  {'redriven' if each.is_done else 'stays'}: {shown(each.told)}")
        done = sum(each.is_done for each in found)
        typer.echo(f"{done} of {len(found)} redriven.", err=True)
    raise typer.Exit(0 if all(each.is_done for each in found) else exits.FAILED)


async def _redrive(db: "Database", settings: "ControlSettings", places: Iterable[LogPosition]) -> "list[Redriven]":
    from control.accepting.inputs import InputCheck
    from control.log.redriving import Redriver
    from resources.lake.store import S3Lake

    inputs = InputCheck(db, S3Lake(settings, settings.lake_bucket))
    redriver = Redriver(db, inputs, settings, administrator())
    return [await redriver.redrive(place) for place in places]


async def _places(conn: "AsyncConnection", wanted: "Wanted") -> list[LogPosition]:
    """Return the places of all that match, the oldest first: the order in which they came."""
    from control.log import dead_letters

    found: list[LogPosition] = []
    while True:
        rows = await dead_letters.page(conn, wanted, limit=_PAGE, after=found[-1] if found else None)
        found += [dead_letters.place_of(row) for row in rows]
        if len(rows) < _PAGE:
            return found[::-1]


def _wanted(code: str | None, topic: str | None, since: datetime | None, *, with_redriven: bool = False) -> "Wanted":
    from control.log.dead_letters import Wanted

    return Wanted(code, topic, None if since is None else since.replace(tzinfo=UTC), with_redriven)


def _facts(row: "RowMapping") -> dict[str, Any]:
    from control.log.dead_letters import place_of

    size = row["bytes"] if "bytes" in row else len(row["value"] or b"")
    moments = {name: row[name] and row[name].isoformat(timespec="seconds") for name in ("created_at", "redriven_at")}
    named = {name: row[name] for name in ("topic", "code", "message")}
    return {"place": str(place_of(row)), **named, "bytes": size, **moments}


def _bytes(value: bytes | None) -> str:
    if value is None:
        return "none"
    text = shown(value[:_SHOWN_BYTES].decode(errors="backslashreplace"))
    return text if len(value) <= _SHOWN_BYTES else f"{text} … {len(value)} bytes in all; --raw writes them"


def shown(text: str) -> str:
    """Return text on one line in which nothing steers a terminal: what cannot be printed is escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def register(root: typer.Typer) -> None:
    """Add ``dead-letters`` to the command line."""
    root.add_typer(app, name="dead-letters")
