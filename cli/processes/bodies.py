"""What ``lakemill submit`` sends: made of its arguments, or a file's."""

from collections.abc import Mapping
from typing import Any, BinaryIO

import typer

from cli.calling import json_object

_OPTIONS = {
    "params": "--params",
    "resource_profile": "--profile",
    "callback_url": "--callback",
    "priority": "--priority",
}
"""Field of the body → the option that gives it; the others are arguments."""
_NEEDED = ("entity_id", "data_version", "action")


def body_of(fields: Mapping[str, Any], file: BinaryIO | None) -> dict[str, Any]:
    """Return the body to submit: the file's, or the ``fields`` that are not None.

    Raises typer.BadParameter where both are given, neither is, or the file holds no JSON object.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if file is None:
        if missing := [name for name in _NEEDED if name not in given]:
            raise typer.BadParameter(f"missing {', '.join(missing)}; or give the whole request with --request FILE")
        return given
    if given:
        beside = ", ".join(_OPTIONS.get(name, name) for name in given)
        raise typer.BadParameter(f"the file is the whole request: leave out {beside}", param_hint="--request")
    return json_object(file.read(), "--request")
