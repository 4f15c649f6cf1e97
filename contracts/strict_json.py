"""JSON as a boundary must read it: one meaning only.

Python's parser takes the last of two equal keys, NaN, and lone surrogates; each lets two readers of the same bytes see
different requests, so each is refused here. The same reader serves HTTP bodies and Kafka records.
"""

import json
from collections.abc import Iterable
from itertools import chain
from typing import Any, NoReturn

MAX_DEPTH = 20
MAX_DIGITS = 40


class MalformedJsonError(ValueError):
    """The bytes are not acceptable JSON; ``code`` is a problem code (``malformed_json`` or ``duplicate_key``)."""

    def __init__(self, message: str, code: str = "malformed_json") -> None:
        super().__init__(message)
        self.code = code


def loads(data: bytes) -> Any:
    """Parse one JSON value from UTF-8 bytes, in a time that only their number bounds. Raises MalformedJsonError."""
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
    except RecursionError:
        # Far beyond MAX_DEPTH: the parser counts its depth against Python's limit, and gives up in order on any thread.
        raise _too_deep() from None
    _look_through(value)
    return value


def canonical(value: Any) -> bytes:
    """Return the one spelling of a JSON value that hashes and signatures are made over: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


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


def _look_through(value: Any) -> None:
    """Refuse what is nested too deep, and half characters. Level by level: nothing that is sent makes it recurse."""
    level = [value]
    for depth in range(MAX_DEPTH + 1):
        _refuse_surrogates(each for each in level if isinstance(each, str))
        nested = [each for each in level if isinstance(each, (list, dict))]
        if nested and depth == MAX_DEPTH:
            raise _too_deep()
        level = [inner for each in nested for inner in (each if isinstance(each, list) else chain(each, each.values()))]


def _too_deep() -> MalformedJsonError:
    return MalformedJsonError(f"nested deeper than {MAX_DEPTH} levels")


def _refuse_surrogates(texts: Iterable[str]) -> None:
    for text in texts:
        try:
            text.encode()  # whole strings at once: a look at each character would take seconds
        except UnicodeEncodeError:
            raise MalformedJsonError("a string holds a lone surrogate") from None
