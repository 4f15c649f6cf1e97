"""JSON as it is read from outside: one meaning or none, and a time that only its length bounds."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.messages import MAX_BODY_BYTES
from contracts.strict_json import MAX_DEPTH, MalformedJsonError, canonical, loads

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
