"""The documentation shows one of everything: each answer, and each refusal where it may come."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from api.app import create_app
from api.examples import EXAMPLES
from contracts.problem_codes import PROBLEMS

NEVER_OF_A_CALL = {"method_not_allowed"}
"""It answers a method that an address does not have, so no documented call has it."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def media(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON body and answer, as (call and status, media type object)."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, each in {"body": operation.get("requestBody", {}), **operation["responses"]}.items():
                for kind, found in each.get("content", {}).items():
                    if kind.endswith("json"):
                        yield f"{method} {path} {status}", found


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def of_schema(document: dict[str, Any], schema: dict[str, Any]) -> list[Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    shown: list[Any] = document["components"]["schemas"].get(name, {}).get("examples", [])
    return shown + [value for each in schema.get("anyOf", []) for value in of_schema(document, each)]


def test_every_body_and_answer_has_an_example_that_fits_it(document: dict[str, Any]) -> None:
    bare = []
    for where, found in media(document):
        values = [each["value"] for each in found.get("examples", {}).values()]
        values += of_schema(document, found["schema"]) + ([found["example"]] if "example" in found else [])
        for value in values:
            check(document, found["schema"], value)
        if not values:
            bare.append(where)
    assert bare == ["get /healthz 200", "get /readyz 200"]  # {"status": …}


def test_an_example_leaves_nothing_out(document: dict[str, Any]) -> None:
    for name, example in EXAMPLES.items():
        if not name.endswith(("Report", "Request", "IntakeAnswer")):  # those may be sent without what is as always
            assert set(example) == set(document["components"]["schemas"][name]["properties"]), name


def test_every_code_is_told_of_some_call(document: dict[str, Any]) -> None:
    told = {code for _, found in media(document) for code in found.get("examples", {})}
    assert told == set(PROBLEMS) - NEVER_OF_A_CALL
    assert set(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == set(PROBLEMS)
