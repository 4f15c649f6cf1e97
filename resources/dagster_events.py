"""Telling Dagster of a snapshot whose run died before it could: one GraphQL mutation of the webserver.

LakemillError
└── DagsterEventsError   Dagster was not told; it may be told again
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


class DagsterEventsError(LakemillError):
    """The webserver did not take the event. Check LAKEMILL_DAGSTER_URL, and that this webserver is not read-only."""

    retriable = True


class DagsterEvents:
    """Speaks GraphQL to the webserver at ``url``."""

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Make the client; nothing is sent yet. ``transport`` replaces the network in tests."""
        self._http = httpx.AsyncClient(base_url=url, timeout=_SECONDS, trust_env=False, transport=transport)

    async def report_materialization(self, asset: str, partition_key: str, description: str) -> None:
        """Record a materialization of one partition of the asset ``asset``. Raises DagsterEventsError."""
        event = {
            "eventType": "ASSET_MATERIALIZATION",
            "assetKey": {"path": [asset]},
            "partitionKeys": [partition_key],
            "description": description,
        }
        body = {"query": REPORT_MUTATION, "variables": {"event": event}}
        try:
            answer = await self._http.post("/graphql", json=body)
            found: Any = answer.raise_for_status().json()
            result = (found.get("data") or {}).get("reportRunlessAssetEvents") or {}
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            raise DagsterEventsError(f"{asset} {partition_key}: {type(error).__name__}: {error}") from error
        if result.get("__typename") != "ReportRunlessAssetEventsSuccess":
            raise DagsterEventsError(f"{asset} {partition_key}: {result.get('message') or found.get('errors')}")

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()
