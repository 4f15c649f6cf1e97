"""Calling the API from a command: the client that the environment names, and what its errors mean to a shell."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from cli.client import ApiClient

EXIT_CONFIG, EXIT_REFUSED, EXIT_REMOTE = 3, 4, 5


@contextmanager
def api() -> "Iterator[ApiClient]":
    """Yield a client of the API that the environment names; what it raises becomes a message and an exit code."""
    from pydantic import ValidationError

    from cli.client import ApiClient, ApiError, ApiUnreachableError
    from resources.settings import ClientSettings

    try:
        settings = ClientSettings()
    except ValidationError:
        typer.echo("lakemill: set LAKEMILL_API_KEY; 'lakemill keys create' makes one.", err=True)
        raise typer.Exit(EXIT_CONFIG) from None
    try:
        with ApiClient(settings.api_url, settings.api_key.get_secret_value()) as client:
            yield client
    except ApiUnreachableError as error:
        typer.echo(f"lakemill: {error}", err=True)
        raise typer.Exit(EXIT_REMOTE) from None
    except ApiError as error:
        typer.echo(f"lakemill: {error}", err=True)
        raise typer.Exit(EXIT_REMOTE if error.is_fault else EXIT_REFUSED) from None


def json_object(text: str | None) -> dict[str, Any] | None:
    """Return what ``--params`` holds. Raises typer.BadParameter unless it is a JSON object."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--params") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="--params")
    return value
