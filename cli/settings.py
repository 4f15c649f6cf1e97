"""The settings of a command: what is missing or refused is told by the variable's name, and never by its value."""

from collections.abc import Callable
from typing import TypeVar

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cli import exits

_Settings = TypeVar("_Settings")


def read_settings(read: Callable[[], _Settings]) -> _Settings:
    """Return what ``read`` returns; settings that it refuses become messages and an exit code."""
    try:
        return read()
    except ValidationError as error:
        for told in setting_errors(error):
            typer.echo(told, err=True)
        typer.echo("Set them as the deployment does, or run where 'lakemill up' keeps its state.", err=True)
        raise typer.Exit(exits.CONFIG) from None


def setting_errors(error: ValidationError, *, with_missing: bool = True) -> list[str]:
    """Return a sentence for each setting that is refused, and for each that is missing; none holds a value."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [_sentence(each) for each in found if with_missing or each["type"] != "missing"]


def _sentence(found: ErrorDetails) -> str:
    # What a rule of several settings refuses has no place: its message names them, as some of one setting do.
    name = f"LAKEMILL_{str(found['loc'][0]).upper()}" if found["loc"] else ""
    if found["type"] == "missing":
        return f"Not configured: {name}"
    message = found["msg"].removeprefix("Value error, ")
    return message if name in message else f"{name}: {message}"
