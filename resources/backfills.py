"""Backfills as the compute plane asks the API for them, with the key of a tenant.

BackfillsError
├── BackfillsUnavailableError   no answer, 429 or 5xx (retriable)
└── BackfillRefusedError        any other refusal: no key, a wrong key, an unknown action, a reused idempotency key
"""

from functools import partial
from typing import Protocol, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from contracts.backfills import BackfillPreview, BackfillRequest, BackfillView
from contracts.problems import LakemillError
from resources.api_calls import api_client, ask_again, may_pass, problem_of
from resources.settings import ComputeSettings

PATH = "/v1/backfills"
_Answer = TypeVar("_Answer", bound=BaseModel)


class BackfillsError(LakemillError):
    """The root of what may come of asking for a backfill."""


class BackfillsUnavailableError(BackfillsError):
    """The API does not answer. Check LAKEMILL_API_URL and the API's log."""

    retriable = True


class BackfillRefusedError(BackfillsError):
    """The API refuses the request. ``code`` is the problem's (docs/problems.md)."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Backfills(Protocol):
    """What schedules ask of the API."""

    def create(self, tenant: str, request: BackfillRequest) -> tuple[BackfillView, bool]:
        """Return the backfill of the request's idempotency key, and whether it is new. Raises BackfillsError."""

    def preview(self, tenant: str, request: BackfillRequest) -> BackfillPreview:
        """Return what ``create`` would make. Raises BackfillsError."""


class HttpBackfills:
    """The API over HTTP. Asks again for up to ``patience`` seconds when it does not answer."""

    def __init__(
        self, settings: ComputeSettings, *, patience: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Make the client; nothing is sent yet. ``transport`` replaces the network in tests."""
        self._keys = settings.schedule_keys
        self._patience = patience
        self._http = api_client(settings.api_url, transport)

    def create(self, tenant: str, request: BackfillRequest) -> tuple[BackfillView, bool]:
        """See Backfills. A lost answer is harmless: the same key gets the same backfill."""
        answer = self._send(tenant, request)
        return _read(BackfillView, answer), answer.status_code == httpx.codes.CREATED

    def preview(self, tenant: str, request: BackfillRequest) -> BackfillPreview:
        """See Backfills."""
        return _read(BackfillPreview, self._send(tenant, request, dry_run="true"))

    def _send(self, tenant: str, request: BackfillRequest, **query: str) -> httpx.Response:
        if tenant not in self._keys:
            raise BackfillRefusedError(f"LAKEMILL_SCHEDULE_KEYS holds no key of tenant {tenant!r}", "unauthorized")
        header = {"Authorization": f"Bearer {self._keys[tenant].get_secret_value()}"}
        body = request.model_dump_json(exclude_defaults=True).encode()
        send = partial(self._send_once, body, {**header, "Content-Type": "application/json"}, query)
        return ask_again(send, on=BackfillsUnavailableError, patience=self._patience)

    def _send_once(self, body: bytes, headers: dict[str, str], query: dict[str, str]) -> httpx.Response:
        try:
            answer = self._http.post(PATH, content=body, headers=headers, params=query)
        except httpx.TransportError as error:
            raise BackfillsUnavailableError(f"POST {PATH}: {type(error).__name__}: {error}") from error
        if not answer.is_success:
            _refuse(answer)
        return answer


def _read(model: type[_Answer], answer: httpx.Response) -> _Answer:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise BackfillRefusedError(f"POST {PATH}: the answer does not fit: {error}", "unknown_answer") from error


def _refuse(answer: httpx.Response) -> None:
    problem = problem_of(answer)
    rules = [f"{each.get('field')}: {each.get('rule')}" for each in problem.get("errors", ())]
    told = "; ".join([str(problem.get("detail") or answer.reason_phrase), *rules])
    message = (
        f"POST {PATH}: {answer.status_code} {problem.get('code', '')}: {told}. {problem.get('remedy', '')}".rstrip()
    )
    if may_pass(answer):
        raise BackfillsUnavailableError(message)
    raise BackfillRefusedError(message, str(problem.get("code", "")))
