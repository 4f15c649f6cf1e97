"""Questions to a server that only a working one answers. None of them waits longer than two seconds."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

SECONDS = 2.0


def accepts(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=SECONDS):
            return True
    except OSError:
        return False


def http_ok(host: str, port: int, path: str) -> bool:
    """Return whether ``GET path`` is answered with 200."""
    return _ask(host, port, "GET", path, None)[0] == 200


def graphql(host: str, port: int, query: str) -> dict[str, Any]:
    """Return the ``data`` of a GraphQL answer; empty when there is none (yet)."""
    status, body = _ask(host, port, "POST", "/graphql", json.dumps({"query": query}).encode())
    try:
        return (json.loads(body).get("data") or {}) if status == 200 else {}
    except (ValueError, AttributeError):
        return {}


def newer_than(path: Path, moment: float) -> bool:
    """Return whether the file was written at or after ``moment`` (Unix seconds)."""
    try:
        return path.stat().st_mtime >= moment
    except FileNotFoundError:
        return False


def _ask(host: str, port: int, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
