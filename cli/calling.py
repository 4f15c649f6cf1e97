"""Calling the API from a command: the client that the environment names, and what its errors mean to a shell."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import exits
from contracts.strict_json import MalformedJsonError, loads

if TYPE_CHECKING:
    from cli.client import ApiClient

Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait for its end, at most.")]


@contextmanager
def api() -> "Iterator[ApiClient]":
    """Yield a client of the API that the environment names; what it raises becomes a message and an exit code."""
    from pydantic import ValidationError

    from cli.client import ApiClient, ApiError, ApiUnreachableError
    from cli.polling import LateError
    from resources.settings import ClientSettings

    try:
        settings = ClientSettings()
    except ValidationError:
        typer.echo("lakemill: no key; 'export LAKEMILL_API_KEY=$(lakemill keys create --quiet)' makes one.", err=True)
        raise typer.Exit(exits.CONFIG) from None
    try:
        with ApiClient(settings.api_url, settings.api_key.get_secret_value()) as client:
            yield client
    except ApiUnreachableError as error:
        typer.echo(f"lakemill: {error}", err=True)
        raise typer.Exit(exits.REMOTE) from None
    except LateError as error:
        typer.echo(f"lakemill: {error}", err=True)
        raise typer.Exit(exits.LATE) from None
    except ApiError as error:
        typer.echo(f"lakemill: {error}", err=True)
        raise typer.Exit(exits.REMOTE if error.is_fault else exits.REFUSED) from None


def params_of(text: str | None) -> dict[str, Any] | None:
    """Return what ``--params`` holds, if it is given. Raises typer.BadParameter unless it is a JSON object."""
    # What was no UTF-8 in the shell is told as that.
    return None if text is None else json_object(text.encode(errors="surrogateescape"), "--params")


def json_object(data: bytes, given_by: str) -> dict[str, Any]:
    """Return what an option holds, read as the API reads it. Raises typer.BadParameter unless it is a JSON object."""
    try:
        value = loads(data)
    except MalformedJsonError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=given_by) from None
    if not isinstance(value, dict):
        raise typer.BadParameter("must be a JSON object", param_hint=given_by)
    return value
