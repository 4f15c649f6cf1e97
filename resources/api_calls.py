"""Calls of the compute plane to the API: one way to connect, to ask again, and to read a refusal."""

from collections.abc import Callable
from typing import Any

import httpx
import stamina

from contracts.problems import LakemillError


def api_client(url: str, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a client of the API at ``url``; nothing is sent yet. ``transport`` replaces the network in tests."""
    timeout = httpx.Timeout(20.0, connect=5.0)
    return httpx.Client(base_url=url, timeout=timeout, trust_env=False, transport=transport)


def ask_again(ask: Callable[[], httpx.Response], *, on: type[LakemillError], patience: float) -> httpx.Response:
    """Return what ``ask`` returns, asking for up to ``patience`` seconds while it raises ``on``; then raise that."""
    for attempt in stamina.retry_context(on=on, attempts=None, timeout=patience, wait_initial=0.2, wait_max=5.0):
        with attempt:
            return ask()
    raise AssertionError("stamina returns or raises")


def may_pass(answer: httpx.Response) -> bool:
    """Return whether a refusal may be another answer later."""
    return answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the problem document of a refusal; empty when there is none."""
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
