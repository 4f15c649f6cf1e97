"""JSON as a boundary must read it: one meaning only.

Python's parser takes the last of two equal keys, NaN, and lone surrogates; each lets two readers of the same bytes see
different requests, so each is refused here. The same reader serves HTTP bodies and Kafka records.
"""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 20
MAX_DIGITS = 40
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class MalformedJsonError(ValueError):
    """The bytes are not acceptable JSON; ``code`` is a problem code (``malformed_json`` or ``duplicate_key``)."""

    def __init__(self, message: str, code: str = "malformed_json") -> None:
        super().__init__(message)
        self.code = code


def loads(data: bytes) -> Any:
    """Parse one JSON value from UTF-8 bytes. Raises MalformedJsonError."""
    _refuse_deep(data)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise MalformedJsonError("the bytes are not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"{error.msg} at character {error.pos}") from None
    _refuse_surrogates(value)
    return value


def canonical(value: Any) -> bytes:
    """Return the one spelling of a JSON value that hashes and signatures are made over: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _refuse_deep(data: bytes) -> None:
    # Counted before parsing, so that a hostile body cannot reach the parser's recursion limit.
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for byte in _STRINGS.sub(b"", data):
        depth += (byte in b"[{") - (byte in b"]}")
        if depth > MAX_DEPTH:
            raise MalformedJsonError(f"nested deeper than {MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise MalformedJsonError(f"the key {key[:64]!r} stands twice in one object", "duplicate_key")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"{name} is not a JSON number")


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise MalformedJsonError(f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise MalformedJsonError("a number is too large")
    return number


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedJsonError("a string holds a lone surrogate")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)
