"""The documentation: bodies are read by our own strict reader, so their schemas are added here by hand."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from api.examples import EXAMPLES
from api.problems import responses
from contracts.problem_codes import PROBLEMS

_REF = "#/components/schemas/{model}"


class Problem(BaseModel):
    """A refusal (RFC 9457). ``code`` is stable; some codes add members such as ``errors`` or ``process_id``.

    ``errors`` names the first 20 broken rules, ``more_errors`` counts the others, when there are any.
    """

    type: str
    title: str
    status: int
    code: str = Field(json_schema_extra={"enum": [*sorted(PROBLEMS)]})
    detail: str = Field(description="What it was about this time.")
    remedy: str = Field(description="What the caller can do about it.")


_BODIES: set[type[BaseModel]] = set()


def request_body(model: type[BaseModel], example: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe a JSON body of ``model``, and see to it that its schema is among the components."""
    _BODIES.add(model)
    media: dict[str, Any] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    if example is not None:
        media["example"] = example
    return {"required": True, "content": {"application/json": media}}


def install(app: FastAPI) -> None:
    """Make ``app.openapi()`` complete."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(get_openapi(title=app.title, version=app.version, routes=app.routes))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    models: list[type[BaseModel]] = sorted([Problem, *_BODIES], key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    components = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in schemas["$defs"].items():
        components.setdefault(name, schema)
    for name, example in EXAMPLES.items():
        components[name]["examples"] = [example]
    unforeseen = {str(status): told for status, told in responses("internal_error").items()}
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"] |= unforeseen
            # FastAPI adds its own 422 for path and query parameters; ours has another shape.
            found = operation["responses"].get("422", {}).get("content", {})
            found.pop("application/json", None)
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    return document
