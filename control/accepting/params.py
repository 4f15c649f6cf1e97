"""Parameters against the action's JSON Schema: what is cheap and exact is refused at the door, the run checks the rest.

See docs/decisions/0005-parameters-at-the-door.md.
"""

from typing import Any

from contracts.problems import ProblemError

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def check_params(params: dict[str, Any], schema: dict[str, Any]) -> None:
    """Check top-level ``required``, ``additionalProperties: false`` and plain ``type``.

    Raises ProblemError (validation_failed) naming every broken rule, never a value.
    """
    properties: dict[str, Any] = schema.get("properties", {})
    broken = [(name, "is required") for name in schema.get("required", []) if name not in params]
    if schema.get("additionalProperties") is False:
        broken += [(name[:64], "is not a parameter of this action") for name in params if name not in properties]
    for name, value in params.items():
        wanted = properties.get(name, {}).get("type")
        if isinstance(wanted, str) and not _fits(value, wanted):
            broken.append((name[:64], f"must be of type {wanted}"))
    if broken:
        errors = [{"field": f"params.{name}", "rule": rule} for name, rule in broken]
        raise ProblemError("validation_failed", "the parameters break the action's schema", errors=errors)


def _fits(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):  # Python counts True as an int, JSON does not
        return wanted == "boolean"
    if isinstance(value, float) and wanted == "integer":
        return value.is_integer()
    return isinstance(value, _TYPES.get(wanted, (object,)))
