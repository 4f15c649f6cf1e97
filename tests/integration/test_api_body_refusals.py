"""Bodies that are too large, not plain JSON, or JSON of two meanings are not read."""

import gzip
import json
from collections.abc import AsyncIterator

import pytest

from contracts.intake import INTAKE_PATH
from contracts.reports import ACTIONS_PATH, REPORT_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.problems import is_problem

pytestmark = pytest.mark.anyio
JSON = {"Content-Type": "application/json"}


async def _stream(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


async def test_large_bodies_are_cut_off(plane: ControlPlane) -> None:
    headers = {**plane.auth(), **JSON}
    announced = await plane.http.post("/v1/processes", content=b" " * 65_537, headers=headers)
    streamed = await plane.http.post("/v1/processes", content=_stream(1_000_000), headers=headers)
    for answer in (announced, streamed):
        is_problem(answer, 413, "payload_too_large")
        assert answer.headers["connection"] == "close"


INTERNAL_LIMITS = [("PUT", ACTIONS_PATH, 4), ("POST", INTAKE_PATH, 16), ("POST", REPORT_PATH, 1)]


@pytest.mark.parametrize(("method", "path", "mebibytes"), INTERNAL_LIMITS)
async def test_bodies_of_the_compute_plane_are_cut_off_too(
    plane: ControlPlane, method: str, path: str, mebibytes: int
) -> None:
    secret, limit = plane.settings.internal_secret.get_secret_value(), mebibytes * 1024 * 1024
    headers = {SIGNATURE_HEADER: sign(secret, method, path, b"")}
    for content in (b" " * (limit + 1), _stream(limit + 1024)):
        is_problem(await plane.http.request(method, path, content=content, headers=headers), 413, "payload_too_large")
    longest = b" " * limit
    headers = {SIGNATURE_HEADER: sign(secret, method, path, longest)}
    answer = await plane.http.request(method, path, content=longest, headers=headers)
    is_problem(answer, 422, "validation_failed")


NOT_PLAIN_JSON: list[dict[str, str]] = [
    {"Content-Type": "text/plain"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "application/problem+json"},
    {**JSON, "Content-Encoding": "gzip"},
    {},
]


async def test_only_plain_json_is_read(plane: ControlPlane) -> None:
    body = gzip.compress(json.dumps(SUBMIT).encode())
    for headers in NOT_PLAIN_JSON:
        answer = await plane.http.post("/v1/processes", content=body, headers={**plane.auth(), **headers})
        is_problem(answer, 415, "unsupported_media_type")


BAD_JSON: list[tuple[bytes, str]] = [
    (b"", "malformed_json"),
    (b"{", "malformed_json"),
    (b"{} {}", "malformed_json"),
    (b"[" * 21 + b"]" * 21, "malformed_json"),
    (b'{"priority": NaN}', "malformed_json"),
    (b'{"priority": ' + b"1" * 5000 + b"}", "malformed_json"),
    (b'{"entity_id": "\\ud800"}', "malformed_json"),
    (json.dumps(SUBMIT).encode("utf-16"), "malformed_json"),
    (b'{"entity_id": "a", "entity_id": "b"}', "duplicate_key"),
]


async def test_json_has_one_meaning_or_none(plane: ControlPlane) -> None:
    for body, code in BAD_JSON:
        answer = await plane.http.post("/v1/processes", content=body, headers={**plane.auth(), **JSON})
        is_problem(answer, 400, code)
