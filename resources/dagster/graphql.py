"""What we ask of Dagster's webserver over GraphQL: to know a snapshot without its run, to end a run, to forget one.

LakemillError
└── DagsterGraphQLError       the webserver did not do it; it may be asked again
    └── DagsterRefusedError   it answered, and will not do it
"""

from typing import Any

import httpx

from contracts.problems import LakemillError

_SECONDS = 10.0
REPORT_MUTATION = """
mutation Report($event: ReportRunlessAssetEventsParams!) {
  reportRunlessAssetEvents(eventParams: $event) {
    __typename
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""
TERMINATE_MUTATION = """
mutation Terminate($run_id: String!) {
  terminateRun(runId: $run_id) {
    __typename
    ... on TerminateRunFailure { message }
    ... on RunNotFoundError { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""


DELETE_MUTATION = """
mutation Forget($run_id: String!) {
  deletePipelineRun(runId: $run_id) {
    __typename
    ... on RunNotFoundError { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""


class DagsterGraphQLError(LakemillError):
    """The webserver did not do it. Check LAKEMILL_DAGSTER_URL, and that this webserver is not read-only."""

    retriable = True


class DagsterRefusedError(DagsterGraphQLError):
    """The webserver answered that it will not do it: the run is gone, or over, or nobody may."""


class DagsterGraphQL:
    """The writable webserver at ``url``."""

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Make the client; nothing is sent yet. ``transport`` replaces the network in tests."""
        self._http = httpx.AsyncClient(base_url=url, timeout=_SECONDS, trust_env=False, transport=transport)

    async def report_materialization(self, asset: str, partition_key: str, description: str) -> None:
        """Record a materialization of one partition of the asset ``asset``. Raises DagsterGraphQLError."""
        event = {
            "eventType": "ASSET_MATERIALIZATION",
            "assetKey": {"path": [asset]},
            "partitionKeys": [partition_key],
            "description": description,
        }
        variables = {"event": event}
        await self._do("reportRunlessAssetEvents", REPORT_MUTATION, variables, f"{asset} {partition_key}")

    async def terminate(self, run_id: str) -> None:
        """Let Dagster end a run, queued or at work. Raises DagsterGraphQLError, also when it is over already."""
        await self._do("terminateRun", TERMINATE_MUTATION, {"run_id": run_id}, f"run {run_id}")

    async def delete_run(self, run_id: str) -> None:
        """Let Dagster forget a run with its events. Raises DagsterGraphQLError."""
        await self._do("deletePipelineRun", DELETE_MUTATION, {"run_id": run_id}, f"run {run_id}")

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def _do(self, name: str, mutation: str, variables: dict[str, Any], what: str) -> None:
        try:
            answer = await self._http.post("/graphql", json={"query": mutation, "variables": variables})
            found: Any = answer.raise_for_status().json()
            result = (found.get("data") or {}).get(name) or {}
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            raise DagsterGraphQLError(f"{what}: {type(error).__name__}: {error}") from error
        if result.get("__typename") != f"{name[0].upper()}{name[1:]}Success":
            raise DagsterRefusedError(f"{what}: {result.get('message') or found.get('errors')}")
