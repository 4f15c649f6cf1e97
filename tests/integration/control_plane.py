"""The control plane under test: the real API over a real database, a lake in memory, and the calls of both planes."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import RowMapping, Select, Table, select

from contracts.commit import Commit, DataFile, Provenance
from contracts.identity import Coordinate, new_token
from contracts.intake import INTAKE_PATH
from contracts.messages import CONTRACT_VERSION, ProcessRequest, ReleaseRecord
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.storage import commit_key
from contracts.strict_json import canonical
from control.tables import process_events, processes
from resources.database import Database
from resources.lake import LakeUnavailableError
from resources.settings import ControlSettings

DIGEST = "a" * 64
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


class MemoryLake:
    """A lake in a dictionary. ``is_down`` makes it silent; ``asked`` records every key that was read."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.is_down = False

    def get(self, key: str) -> bytes | None:
        self.asked.append(key)
        if self.is_down:
            raise LakeUnavailableError("the lake is down")
        return self.objects.get(key)

    def url(self, key: str) -> str:
        return f"s3://lake/{key}"

    def commit(self, place: Coordinate, process_id: UUID | None, attempt: int | None = 1) -> str:
        """Publish a snapshot of three rows at ``place``; returns its token."""
        now = datetime.now(UTC)
        token = new_token(str(process_id or uuid4()), attempt or 1)
        provenance = Provenance(
            token=token,
            run_id="run-1",
            process_id=process_id,
            attempt=attempt,
            tenant="default",
            action="ingest",
            action_digest=DIGEST,
            inputs={},
            params={},
            checks=[],
            stages={"run_started": now, "written": now},
        )
        commit = Commit(
            coordinate=place,
            committed_at=now,
            schema_string='{"type":"struct","fields":[]}',
            files=[DataFile(name="part-0.parquet", size=10, rows=3)],
            provenance=provenance,
        )
        self.objects[commit_key(place)] = commit.encode()
        return token


@dataclass(slots=True)
class ControlPlane:
    """What a test does to the control plane, in the words of the design."""

    http: httpx.AsyncClient
    db: Database
    lake: MemoryLake
    settings: ControlSettings
    key: str
    offset: int = field(default=0)

    async def submit(self, headers: Mapping[str, str] | None = None, **changes: Any) -> httpx.Response:
        body = {name: value for name, value in {**SUBMIT, **changes}.items() if value is not None}
        return await self.http.post("/v1/processes", json=body, headers={**self.auth(), **(headers or {})})

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

    async def failed(self, process_id: UUID, code: str = "run_died", **fields: Any) -> httpx.Response:
        return await self.report(process_id, "failed", reason={"code": code, "message": "it broke"}, **fields)

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


def place(dataset: str = "raw", entity_id: str = "cust_8842", data_version: str = "v1") -> Coordinate:
    return Coordinate(entity_id, data_version, dataset)
