"""The REST API as a Python client uses it: for the demo, the benches and the end-to-end tests."""

import time
from collections.abc import Mapping
from typing import Any, Self

import httpx

from contracts.problems import LakemillError
from contracts.states import State


class ApiError(LakemillError):
    """The API refused a request; ``problem`` is its problem document."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(
            f"{problem.get('status')} {problem.get('code')}: {problem.get('detail')} {problem.get('remedy', '')}"
        )
        self.problem = dict(problem)
        self.code = str(problem.get("code"))


class ApiClient:
    """One connection pool to one API, with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=self.headers, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """POST one request; return the accepted process. Raises ApiError when it is refused."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        return self._answer(self._http.post("/v1/processes", json=request, headers=headers))

    def process(self, process_id: str) -> dict[str, Any]:
        """Return everything about one process."""
        return self._answer(self._http.get(f"/v1/processes/{process_id}"))

    def newest(self, count: int = 200) -> list[dict[str, Any]]:
        """Return the tenant's newest processes, at most 200."""
        processes: list[dict[str, Any]] = self._answer(self._http.get("/v1/processes", params={"limit": count}))[
            "processes"
        ]
        return processes

    def wait(self, process_id: str, *, seconds: float, until: frozenset[State] | None = None) -> dict[str, Any]:
        """Poll until the process is terminal, or in one of ``until``. Raises TimeoutError with the last answer."""
        deadline = time.monotonic() + seconds
        while True:
            process = self.process(process_id)
            state = State(process["state"])
            if state in until if until else state.is_terminal:
                return process
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {process_id} is still {state.value} after {seconds:.0f} s: {process}")
            time.sleep(0.25)

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        document: dict[str, Any] = response.json()
        if response.is_error:
            raise ApiError(document)
        return document
