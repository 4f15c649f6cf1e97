"""The contracts: names, strict JSON, requests, records, cursors, signatures."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from time import thread_time
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts import signing
from contracts.cursor import Cursor, TopicPosition
from contracts.identity import Coordinate, new_token, safe_id
from contracts.messages import MAX_BODY_BYTES, ProcessRequest, ReleaseRecord
from contracts.states import MOVES, TERMINAL, State
from contracts.storage import commit_key, token_prefix
from contracts.strict_json import MAX_DEPTH, MalformedJsonError, canonical, loads

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

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


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


@given(json_values)
def test_strict_json_reads_what_canonical_writes(value: object) -> None:
    assert loads(canonical(value)) == value


@given(st.binary(max_size=200))
def test_strict_json_never_fails_otherwise(data: bytes) -> None:
    try:
        value = loads(data)
    except MalformedJsonError:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a": 1, "a": 2}', "duplicate_key"),
        (b'{"a": {"b": 1, "b": 1}}', "duplicate_key"),
        (b"[" * 10_000, "malformed_json"),
        (b"NaN", "malformed_json"),
        (b"[Infinity]", "malformed_json"),
        (b"1e999", "malformed_json"),
        (b"9" * 5000, "malformed_json"),
        (b'"\\ud800"', "malformed_json"),
        ('{"a": 1}'.encode("utf-16"), "malformed_json"),
        (b'{"a": 1} x', "malformed_json"),
        (b"", "malformed_json"),
    ],
)
def test_ambiguous_json_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(MalformedJsonError) as caught:
        loads(data)
    assert caught.value.code == code


@given(st.lists(st.booleans(), max_size=2 * MAX_DEPTH), st.text('[]{}"\\\\', max_size=30) | st.just([]) | st.just({}))
def test_depth_is_told_by_what_is_nested_and_by_nothing_else(shape: list[bool], innermost: object) -> None:
    value = reduce(lambda inner, is_list: [innermost, inner] if is_list else {"[{": inner}, shape, innermost)
    depth = len(shape) + isinstance(innermost, (list, dict))
    if depth <= MAX_DEPTH:
        assert loads(canonical(value)) == value
        return
    with pytest.raises(MalformedJsonError, match=f"nested deeper than {MAX_DEPTH} levels"):
        loads(canonical(value))


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_no_depth_ends_the_process_on_any_thread(opening: str) -> None:
    body = opening.encode() * 1_000_000
    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(loads, body).exception()
    with pytest.raises(MalformedJsonError) as caught:
        loads(body)
    assert {str(found) for found in (refused, caught.value)} == {f"nested deeper than {MAX_DEPTH} levels"}


@pytest.mark.parametrize(
    "rest", ['"' + '\\"' * MAX_BODY_BYTES, '"' * MAX_BODY_BYTES, "[" * MAX_BODY_BYTES, "\\" * MAX_BODY_BYTES]
)
def test_no_body_takes_long_to_be_refused(rest: str) -> None:
    body = (f"[{'[' * 15}{']' * 15},{'[],' * 10}" + rest).encode()[:MAX_BODY_BYTES]
    began = thread_time()
    with pytest.raises(MalformedJsonError):
        loads(body)
    assert thread_time() - began < 0.5  # milliseconds; with a look ahead from every quote it would be half a minute


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
