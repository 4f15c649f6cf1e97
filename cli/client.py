"""The REST API as a Python client uses it: for the commands, the demo, the benches and the end-to-end tests."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Self

import httpx

from contracts.problems import LakemillError
from contracts.views import MAX_PAGE

_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


class ApiError(LakemillError):
    """The API refused a request; ``problem`` is its problem document."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        broken = [f"{each.get('field')}: {each.get('rule')}" for each in problem.get("errors", ())]
        if more := problem.get("more_errors"):
            broken.append(f"{more} more")
        told = [f"{problem.get('status')} {problem.get('code')}: {problem.get('detail')}", *broken]
        super().__init__(f"{'; '.join(told)}. {problem.get('remedy', '')}".rstrip())
        self.problem = dict(problem)
        self.code = str(problem.get("code"))

    @property
    def is_fault(self) -> bool:
        """Whether the API could not do it, and the request was not at fault."""
        return int(self.problem.get("status", 500)) >= 500


class ApiBusyError(ApiError):
    """Not now: the tenant's rate is used up, or what the API needs is away. ``retry_after``: seconds to wait."""

    retriable = True

    def __init__(self, problem: Mapping[str, Any], retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class ApiUnreachableError(LakemillError):
    """The API does not answer. Check LAKEMILL_API_URL, and that it runs."""

    retriable = True
    retry_after: ClassVar[float] = 0
    """It did not say."""


class ApiClient:
    """One connection pool to one API, with one key. Every call raises ApiError and ApiUnreachableError."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=self.headers, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(
        self,
        request: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        use_existing: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """POST one request; return the accepted process, the existing one, or the preview."""
        query = {"on_conflict": "use_existing"} if use_existing else {}
        query |= {"dry_run": "true"} if dry_run else {}
        return self._send("POST", "", json=dict(request), headers=_keyed(idempotency_key), params=query)

    def process(self, process_id: str) -> dict[str, Any]:
        """Return everything about one process."""
        return self._send("GET", f"/{process_id}")

    def cancel(self, process_id: str) -> dict[str, Any]:
        """End a process; return it as it stands then."""
        return self._send("POST", f"/{process_id}:cancel")

    def retry(self, process_id: str, *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Make a new process of an ended one's request; return the accepted process."""
        return self._send("POST", f"/{process_id}:retry", headers=_keyed(idempotency_key))

    def processes(self, count: int, filters: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the tenant's newest ``count`` processes that match, page by page."""
        cursor: str | None = None
        while count > 0:
            query = {**(filters or {}), "limit": min(count, MAX_PAGE), **({"cursor": cursor} if cursor else {})}
            page = self._send("GET", "", params=query)
            yield from page["processes"]
            count -= len(page["processes"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def create_backfill(self, request: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """POST one backfill; return it, the one that was there under its id, or the preview."""
        query = {"dry_run": "true"} if dry_run else {}
        return self._send("POST", "", of="backfills", json=dict(request), params=query)

    def backfill(self, backfill_id: str) -> dict[str, Any]:
        """Return how a backfill stands."""
        return self._send("GET", f"/{backfill_id}", of="backfills")

    def backfills(self, count: int) -> list[dict[str, Any]]:
        """Return the newest ``count`` backfills, 50 at most."""
        page = self._send("GET", "", of="backfills", params={"limit": min(count, 50)})
        found: list[dict[str, Any]] = page["backfills"]
        return found

    def steer_backfill(self, backfill_id: str, verb: str) -> dict[str, Any]:
        """``pause``, ``resume`` or ``cancel`` a backfill; return how it stands then."""
        return self._send("POST", f"/{backfill_id}:{verb}", of="backfills")

    def _send(self, method: str, path: str, *, of: str = "processes", **options: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, f"/v1/{of}{path}", **options)
            document: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ApiUnreachableError(f"{self.url} does not answer: {type(error).__name__}: {error}") from error
        if response.status_code in _BUSY:
            told = response.headers.get("retry-after", "")
            raise ApiBusyError(document, float(told) if told.isdecimal() else 0)  # a date may stand there too
        if response.is_error:
            raise ApiError(document)
        return document


def _keyed(idempotency_key: str | None) -> dict[str, str]:
    return {} if idempotency_key is None else {"idempotency-key": idempotency_key}
