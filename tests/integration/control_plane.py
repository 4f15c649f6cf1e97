"""The control plane under test: the real API over a real database, a lake in memory, and the calls of both planes."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import RowMapping, Select, Table, select

from contracts.identity import Coordinate, new_token
from contracts.intake import INTAKE_PATH
from contracts.messages import CONTRACT_VERSION, ProcessRequest, ReleaseRecord
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.strict_json import canonical
from contracts.tombstone import Tombstone
from control.recovery.tombstones import record_retired
from control.tables import process_events, processes
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.memory_lake import DIGEST, MemoryLake, place, tombstone

TOPIC = "lakemill.processes"
TOPIC_ID = "first-topic"
SUBMIT = {"entity_id": "cust_8842", "data_version": "v1", "action": "ingest"}
PROFILE = {"driver_cores": 1, "driver_memory": "1g"}
CATALOGUE: dict[str, Any] = {
    "actions": [
        {
            "name": name,
            "dataset": dataset,
            "digest": DIGEST,
            "description": "",
            "inputs": inputs,
            "output_schema": "x bigint",
            "params_schema": params,
            "profile": "small",
        }
        for name, dataset, inputs, params in (
            ("ingest", "raw", {}, {"type": "object", "properties": {}, "additionalProperties": True}),
            (
                "refine",
                "fine",
                {"raw": "raw"},
                {
                    "type": "object",
                    "properties": {"day": {"type": "string"}, "top": {"type": "integer"}},
                    "required": ["day"],
                    "additionalProperties": False,
                },
            ),
        )
    ],
    "profiles": {"small": PROFILE, "large": {**PROFILE, "executor_instances": 8}},
}
WITHOUT_INGEST = {**CATALOGUE, "actions": [each for each in CATALOGUE["actions"] if each["name"] != "ingest"]}


@dataclass(slots=True)
class ControlPlane:
    """What a test does to the control plane, in the words of the design."""

    http: httpx.AsyncClient
    db: Database
    lake: MemoryLake
    settings: ControlSettings
    key: str
    offset: int = field(default=0)

    async def submit(
        self, headers: Mapping[str, str] | None = None, *, query: str = "", **changes: Any
    ) -> httpx.Response:
        body = {name: value for name, value in {**SUBMIT, **changes}.items() if value is not None}
        return await self.post(f"/v1/processes{query}", headers, body)

    async def post(
        self, path: str, headers: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        return await self.http.post(path, json=body, headers={**self.auth(), **(headers or {})})

    async def cancel(self, process_id: UUID) -> httpx.Response:
        return await self.post(f"/v1/processes/{process_id}:cancel")

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(path, headers=self.auth())

    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def accepted(self, **changes: Any) -> UUID:
        """Submit, and return the process's id."""
        answer = await self.submit(**changes)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["process_id"])

    async def signed(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        content = b"" if body is None else canonical(body)
        header = sign(self.settings.internal_secret.get_secret_value(), method, path, content)
        return await self.http.request(method, path, content=content, headers={SIGNATURE_HEADER: header})

    async def publish(self, catalogue: Mapping[str, Any] = CATALOGUE) -> httpx.Response:
        return await self.signed("PUT", ACTIONS_PATH, catalogue)

    async def record_of(self, process_id: UUID, /, **changes: Any) -> bytes:
        """Return the record that the worker would publish for the current attempt."""
        row = await self.process(process_id)
        request = ProcessRequest.model_validate(row["request"])
        released = ReleaseRecord.model_validate(
            {
                **request.model_dump(),
                "contract_version": CONTRACT_VERSION,
                "process_id": process_id,
                "attempt": row["attempt"],
                "tenant": row["tenant_id"],
                "request_hash": row["request_hash"],
            }
        )
        return canonical({**released.model_dump(mode="json", by_alias=True), **changes})

    async def take(self, *values: bytes | None, **changes: Any) -> list[dict[str, Any]]:
        """Show records to intake, each at a new offset; return the answers."""
        records = []
        for value in values:
            position = {"topic_id": TOPIC_ID, "partition": 0, "offset": self.offset}
            encoded = None if value is None else b64encode(value).decode()
            records.append({"topic": TOPIC, "position": position, "value": encoded})
            self.offset += 1
        return await self.intake(records, **changes)

    async def intake(self, records: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
        request = {"persisted": {"topics": {}}, "actions": {"ingest": DIGEST, "refine": DIGEST}, "records": records}
        answer = await self.signed("POST", INTAKE_PATH, {**request, **changes})
        assert answer.status_code == 200, answer.text
        answers: list[dict[str, Any]] = answer.json()["answers"]
        return answers

    async def launched(self, **changes: Any) -> tuple[UUID, str]:
        """Submit and take in; return the process's and the launch's id."""
        process_id = await self.accepted(**changes)
        return process_id, await self.relaunched(process_id)

    async def relaunched(self, process_id: UUID) -> str:
        (answer,) = await self.take(await self.record_of(process_id))
        assert answer["verdict"] == "launch", answer
        launch_id: str = answer["launch"]["launch_id"]
        return launch_id

    async def running(self, run_id: str = "run-1", **changes: Any) -> UUID:
        """Submit, take in and start."""
        process_id, _ = await self.launched(**changes)
        answer = await self.report(process_id, "started", run_id=run_id)
        assert answer.status_code == 200, answer.text
        return process_id

    async def report(
        self, process_id: UUID, event: str, *, attempt: int = 1, run_id: str = "run-1", **fields: Any
    ) -> httpx.Response:
        body = {"event": event, "at": datetime.now(UTC).isoformat(), "run_id": run_id, "attempt": attempt, **fields}
        if event == "committing":
            expires_at = datetime.now(UTC) + timedelta(seconds=self.settings.permit_seconds)
            body = {"commit_expires_at": expires_at.isoformat(), **body}
        return await self.signed("POST", REPORT_PATH, {"process_id": str(process_id), **body})

    async def committing(self, process_id: UUID) -> httpx.Response:
        return await self.report(process_id, "committing", token=new_token(str(process_id), 1))

    async def succeed(self, submitted: httpx.Response) -> UUID:
        """Let the accepted process of an answer commit; return its id."""
        process_id = UUID(submitted.json()["process_id"])
        self.lake.commit(place(), process_id)
        await self.report(process_id, "succeeded")
        assert (await self.process(process_id))["state"] == "succeeded"
        return process_id

    async def succeed_at(self, submitted: httpx.Response, where: Coordinate, tenant: str) -> UUID:
        """Let a tenant's accepted process commit; return its id."""
        process_id = UUID(submitted.json()["process_id"])
        self.lake.commit(where, process_id, tenant=tenant)
        await self.report(process_id, "succeeded")
        return process_id

    async def failed(self, process_id: UUID, code: str = "run_died", **fields: Any) -> httpx.Response:
        return await self.report(process_id, "failed", reason={"code": code, "message": "it broke"}, **fields)

    async def retire(self, where: Coordinate) -> Tombstone:
        """Let the index know that something was published and retired there; return the tombstone."""
        stone = tombstone(where)
        async with self.db.transaction() as conn:
            await record_retired(conn, [stone])
        return stone

    async def members(self, launch_id: str) -> httpx.Response:
        return await self.signed("GET", f"{LAUNCH_PATH}/{launch_id}")

    async def process(self, process_id: UUID) -> RowMapping:
        (row,) = await self.rows(select(processes).where(processes.c.id == process_id))
        return row

    async def rows(self, query: Select[Any] | Table) -> list[RowMapping]:
        async with self.db.transaction() as conn:
            found = await conn.execute(select(query) if isinstance(query, Table) else query)
            return list(found.mappings().all())

    async def kinds(self, process_id: UUID) -> list[str]:
        """Return the kinds of the process's events, in order."""
        events = process_events
        rows = await self.rows(select(events).where(events.c.process_id == process_id).order_by(events.c.id))
        return [row["kind"] for row in rows]

    async def until(self, process_id: UUID, state: str, seconds: float = 10) -> RowMapping:
        """Wait for a state."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            row = await self.process(process_id)
            if row["state"] == state:
                return row
            assert asyncio.get_running_loop().time() < deadline, f"still {row['state']}"
            await asyncio.sleep(0.02)
