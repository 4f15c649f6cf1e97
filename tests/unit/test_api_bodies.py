"""What the API reads before any decision: bodies, parameters, keys, cursors."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.backfills import MAX_BACKFILL_BYTES, MAX_ENTITIES, BackfillRequest
from contracts.messages import ProcessRequest
from contracts.problems import MAX_ERRORS, ProblemError
from contracts.reading import parse
from contracts.reasons import Reason, ReasonCode
from contracts.strict_json import canonical
from control.accepting.params import check_params
from control.processes import decode_cursor, encode_cursor
from control.rules.endings import BACKOFF_SECONDS, backoff

REQUEST = {"entity_id": "a", "data_version": "v1", "action": "ingest"}
SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "flag": {"type": "boolean"},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["text"],
    "additionalProperties": False,
}


def refusal(call: Callable[[], object]) -> dict[str, Any] | None:
    """Return the problem document that ``call`` raises, None when it returns."""
    try:
        call()
    except ProblemError as error:
        return error.document()
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_one_of_three_problems(body: bytes) -> None:
    refused = refusal(lambda: parse(ProcessRequest, body))
    assert refused is None or refused["code"] in {"malformed_json", "duplicate_key", "validation_failed"}


@given(st.text(max_size=150))
def test_an_entity_is_read_verbatim_or_refused_without_quoting_it(entity: str) -> None:
    body = canonical({**REQUEST, "entity_id": entity})
    refused = refusal(lambda: parse(ProcessRequest, body))
    if refused is None:
        assert parse(ProcessRequest, body).entity_id == entity
    else:
        assert refused["code"] in {"malformed_json", "validation_failed"}
        assert len(entity) < 10 or entity not in repr(refused)


@pytest.mark.parametrize("count", [MAX_ERRORS, MAX_ERRORS + 1, 5_000])
def test_of_many_broken_rules_the_first_are_named_and_the_others_counted(count: int) -> None:
    unknown = {f"x{number}": 1 for number in range(count)}
    for refused in (
        refusal(lambda: parse(ProcessRequest, canonical({**REQUEST, **unknown}))),
        refusal(lambda: check_params({"text": "", **unknown}, SCHEMA)),
    ):
        assert refused is not None
        assert [len(error) for error in refused["errors"]] == [2] * MAX_ERRORS
        assert refused.get("more_errors", 0) == count - MAX_ERRORS
        assert len(canonical(refused)) < 4_000


@pytest.mark.parametrize(
    "hostile",
    [
        {"select": {"entities": ["!"] * MAX_ENTITIES}},
        {"select": {"entities": ["!"] * 2 * MAX_ENTITIES}},
        {f"{number:x}": 1 for number in range(MAX_BACKFILL_BYTES // 10)},
    ],
    ids=["bad ids", "too many", "unknown keys"],
)
def test_no_body_makes_a_large_answer(hostile: dict[str, Any]) -> None:
    body = canonical({"action": "ingest", "data_version": "v1", **hostile})
    assert len(body) <= MAX_BACKFILL_BYTES
    refused = refusal(lambda: parse(BackfillRequest, body))
    assert refused is not None
    assert refused["code"] == "validation_failed"
    assert len(canonical(refused)) < 8_000


@given(st.uuids())
def test_a_cursor_comes_back(process_id: UUID) -> None:
    assert decode_cursor(encode_cursor(process_id)) == process_id


@given(st.text(max_size=64))
def test_any_text_is_a_cursor_or_a_problem(text: str) -> None:
    refused = refusal(lambda: decode_cursor(text))
    assert refused is None or refused["code"] == "validation_failed"


@pytest.mark.parametrize(
    "params",
    [{"text": "x"}, {"text": "", "count": 3, "ratio": 1, "flag": False, "either": None}, {"text": "x", "count": 3.0}],
)
def test_parameters_that_fit(params: dict[str, Any]) -> None:
    check_params(params, SCHEMA)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "params.text"),
        ({"text": 1}, "params.text"),
        ({"text": "x", "count": True}, "params.count"),
        ({"text": "x", "count": 1.5}, "params.count"),
        ({"text": "x", "ratio": "1"}, "params.ratio"),
        ({"text": "x", "flag": 1}, "params.flag"),
        ({"text": "x", "y" * 100: 1}, "params." + "y" * 64),
    ],
)
def test_parameters_that_do_not_fit(params: dict[str, Any], field: str) -> None:
    with pytest.raises(ProblemError) as raised:
        check_params(params, SCHEMA)
    assert [error["field"] for error in raised.value.extra["errors"]] == [field]


def test_waiting_grows_and_then_stays() -> None:
    died = Reason(code=ReasonCode.RUN_DIED, message="")
    waits = [backoff(attempt, died) for attempt in range(1, 8)]
    assert waits == sorted(waits)
    assert waits[0] == timedelta(seconds=BACKOFF_SECONDS[0])
    assert waits[-1] == timedelta(seconds=BACKOFF_SECONDS[-1])


def test_an_outage_of_the_cluster_is_waited_out() -> None:
    away = Reason(code=ReasonCode.CLUSTER_UNAVAILABLE, message="")
    assert [backoff(attempt, away).total_seconds() for attempt in (1, 2, 3, 4)] == [60, 300, 600, 600]
