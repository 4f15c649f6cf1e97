"""The contracts: names, strict JSON, requests, records, cursors, signatures."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts import signing
from contracts.backfills import BackfillRequest
from contracts.cursor import Cursor, TopicPosition
from contracts.identity import Coordinate, new_token, safe_id
from contracts.messages import ProcessRequest, ReleaseRecord
from contracts.reading import sentences
from contracts.states import MOVES, TERMINAL, State
from contracts.storage import CorruptSnapshotError, commit_key, token_prefix
from contracts.strict_json import loads
from contracts.tombstone import Tombstone

EXAMPLE = b"""{"entity_id": "cust_8842", "data_version": "v2024.10.05", "action": "aggregate_revenue",
 "callback_url": "https://api.internal/v1/processes/callback",
 "resource_profile": {"driver_cores": 4, "executor_instances": 8, "executor_memory": "16g"}}"""

HOSTILE_IDS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "%2e%2e%2f",
    "a//b",
    "/a",
    "a\x00b",
    "a\r\nb",
    "a\tb",
    "a\x7f",
    "a\u202eb",
    "a\u200bb",
    "\uff0e\uff0e",
    "\u0430dmin",
    "a|b",
    "a...b",
    "__magic",
    "_temporary",
    "_SUCCESS",
    ".hidden",
    "a=b",
    "a.",
    "a ",
    " a",
    "a" * 129,
    "'; DROP TABLE",
    "${jndi:x}",
    "{{7*7}}",
    "$(id)",
    "a\n",
]


@pytest.mark.parametrize("value", HOSTILE_IDS)
def test_hostile_ids_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must"):
        safe_id(value)


@given(st.from_regex(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"))
def test_every_accepted_id_stays_inside_its_folder(value: str) -> None:
    try:
        coordinate = Coordinate(safe_id(value), "v1", "flights")
    except ValueError:
        assert ".." in value or value.endswith(".")
        return
    assert commit_key(coordinate).split("/")[:3] == [value, "v1", "flights"]
    assert Coordinate.parse(str(coordinate)) == coordinate


def test_tokens_are_unique_and_name_a_folder() -> None:
    process = str(uuid4())
    tokens = {new_token(process, 1) for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(token_prefix(Coordinate("a", "b", "c"), token) == f"a/b/c/{token}/" for token in tokens)


def test_the_well_known_example_is_a_request() -> None:
    request = ProcessRequest.model_validate(loads(EXAMPLE))
    alias = ProcessRequest.model_validate(loads(EXAMPLE.replace(b'"action"', b'"action_type"')))
    assert request == alias
    assert request.request_hash() == alias.request_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"tenant_id": "other"},
        {"state": "succeeded"},
        {"entity_id": 7},
        {"entity_id": True},
        {"priority": "1"},
        {"priority": 11},
        {"deadline_seconds": 59},
        {"deadline_seconds": 2_592_001},
        {"action": "Upper"},
        {"action": "a" * 64},
        {"params": []},
        {"params": {"a": "x" * 70_000}},
        {"params": {"a": "\0"}},
        {"callback_url": "https://a\r\nb"},
        {"callback_url": "x" * 2049},
        {"inputs": {"a": {"entity_id": "../x", "data_version": "v1"}}},
        {"resource_profile": {"driver_cores": 0}},
        {"resource_profile": {"image": "evil"}},
        {"resource_profile": {"executor_memory": "16gb"}},
        {"action_digest": "abc"},
    ],
)
def test_a_field_that_breaks_its_rule_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ProcessRequest.model_validate({**loads(EXAMPLE), **change})


def test_a_release_record_carries_the_request_and_its_hash() -> None:
    request = ProcessRequest.model_validate(loads(EXAMPLE))
    envelope = {"process_id": str(uuid4()), "attempt": 2, "tenant": "default", "request_hash": request.request_hash()}
    record = ReleaseRecord.model_validate({**request.model_dump(mode="json"), **envelope})
    again = ReleaseRecord.model_validate(loads(record.encode()))
    assert again == record
    assert again.request() == request
    assert again.request().request_hash() == again.request_hash_


@given(st.dictionaries(st.integers(0, 100), st.integers(0, 2**60)))
def test_a_cursor_survives_storage(offsets: dict[int, int]) -> None:
    cursor = Cursor(topics={"t": TopicPosition(topic_id="abc", next_offsets=offsets)})
    assert Cursor.parse(cursor.encode()) == cursor
    assert Cursor.parse(None) == Cursor()


def test_terminal_states_never_change_and_every_state_is_drawn() -> None:
    assert set(MOVES) == set(State)
    assert all(not MOVES[state] for state in TERMINAL)
    assert all(MOVES[state] >= TERMINAL for state in State if state not in TERMINAL)


def test_a_signature_covers_method_path_body_and_time() -> None:
    header = signing.sign("s" * 32, "POST", "/a", b"body", now=1000)
    signing.verify("s" * 32, "post", "/a", b"body", header, now=1100)
    wrong = [
        ("x" * 32, "POST", "/a", b"body", header, 1000),
        ("s" * 32, "PUT", "/a", b"body", header, 1000),
        ("s" * 32, "POST", "/b", b"body", header, 1000),
        ("s" * 32, "POST", "/a", b"other", header, 1000),
        ("s" * 32, "POST", "/a", b"body", header, 1000 + signing.TOLERANCE_SECONDS + 1),
        ("s" * 32, "POST", "/a", b"body", "", 1000),
        ("s" * 32, "POST", "/a", b"body", header.replace("t=1000", "t=1001"), 1000),
    ]
    for secret, method, path, body, given_header, now in wrong:
        with pytest.raises(signing.BadSignatureError):
            signing.verify(secret, method, path, body, given_header, now=now)


def test_broken_rules_are_told_by_field_and_never_by_value() -> None:
    """One way for all that reads a model: requests, records, backfills, tombstones, parameters, tenants."""
    with pytest.raises(ValidationError) as caught:
        ProcessRequest.model_validate({"entity_id": "canary/x", "action": "ingest", "x" * 99: 1, "priority": "canary"})
    told = sentences(caught.value)
    assert [each.partition(": ")[0] for each in told] == ["entity_id", "data_version", "priority", "x" * 64]
    assert told[1] == "data_version: missing: Field required"
    assert "canary" not in "".join(told)
    asked = {"action": "refine", "data_version": "v1", "select": {"with_inputs": True}, "params": {"day": "\0"}}
    with pytest.raises(ValidationError, match="params: value_error: must not hold NUL"):
        BackfillRequest.model_validate(asked)
    with pytest.raises(CorruptSnapshotError, match="cannot be read: body: json_invalid: Invalid JSON"):
        Tombstone.parse(b"{", Coordinate("e", "v1", "gone"))
