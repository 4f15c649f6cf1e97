"""The contract as one asynchronous endpoint: accept with 202, keep the metadata, show the state, take signed ends."""

import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AliasChoices, BaseModel, Field, JsonValue, StringConstraints
from sqlalchemy import Column, DateTime, Index, MetaData, RowMapping, Table, Text, Uuid, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

FINAL = StrEnum("FINAL", ["succeeded", "failed", "cancelled", "expired"])
COORDINATE = ("entity_id", "data_version", "action")
processes = Table(
    "embedded_processes",
    MetaData(),
    Column("id", Uuid, primary_key=True, default=uuid.uuid4),
    *(Column(name, Text, nullable=False) for name in (*COORDINATE, "request", "request_hash")),
    Column("idempotency_key", Text, unique=True),
    Column("state", Text, nullable=False, default="accepted"),
    Column("outcome", Text),  # JSON as text, like the request: JSONB would refuse some strings of JSON
    Column("accepted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
)
TAKEN = text("state NOT IN ('failed', 'cancelled', 'expired')")  # under way, or published for ever
Index("one_process_at_a_coordinate", *(processes.c[name] for name in COORDINATE), unique=True, postgresql_where=TAKEN)

Id = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Memory = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}[mg]$")]
Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^[\x21-\x5b\x5d-\x7e]*$")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,255}$")]


class _Profile(BaseModel, extra="forbid", strict=True):
    driver_cores: int = Field(1, ge=1, le=64)
    driver_memory: Memory = "2g"
    executor_instances: int = Field(1, ge=0, le=1000)
    executor_cores: int = Field(1, ge=1, le=64)
    executor_memory: Memory = "2g"
    shuffle_partitions: int = Field(8, ge=1, le=100_000)


class _InputRef(BaseModel, extra="forbid", strict=True):
    entity_id: Id
    data_version: Id


class Submit(BaseModel, extra="forbid", strict=True, allow_inf_nan=False):
    """One action at one coordinate."""

    entity_id: Id
    data_version: Id
    action: Name = Field(validation_alias=AliasChoices("action", "action_type"))
    callback_url: Url | None = None
    resource_profile: Name | _Profile | None = None
    params: dict[str, JsonValue] = {}
    inputs: dict[Name, _InputRef] = Field({}, max_length=64)
    priority: int = Field(0, ge=-10, le=10)
    deadline_seconds: int = Field(604_800, ge=60, le=2_592_000)
    action_digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    def canonical(self) -> str:
        """Return the one spelling that is stored and hashed, so that key order, aliases and defaults do not matter."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _problem(status: int, code: str, detail: str, **extra: Any) -> HTTPException:
    return HTTPException(status, {"type": f"urn:lakemill:problem:{code}", "code": code, "detail": detail, **extra})


def _view(row: RowMapping) -> dict[str, Any]:
    shown = {name: row[name] for name in (*COORDINATE, "state")} | {"accepted_at": row["accepted_at"].isoformat()}
    return {"process_id": str(row["id"]), **shown, "links": {"self": f"/v1/processes/{row['id']}"}}


async def _conflict(conn: AsyncConnection, wanted: dict[str, Any]) -> RowMapping:
    mine = select(processes).where(processes.c.idempotency_key.in_([wanted["idempotency_key"]]))  # none for NULL
    row = (await conn.execute(mine)).mappings().one_or_none()
    if row is not None and row["request_hash"] == wanted["request_hash"]:
        return row
    if row is not None:
        raise _problem(422, "idempotency_key_reused", "this Idempotency-Key came with another body")
    place = (processes.c[name] == wanted[name] for name in COORDINATE)
    row = (await conn.execute(select(processes).where(*place, TAKEN))).mappings().one_or_none()
    is_published = row is not None and row["state"] == FINAL.succeeded
    code = "version_already_published" if is_published else "process_active"
    raise _problem(409, code, "this coordinate is taken", process_id=row and str(row["id"]))


def create_app(database_url: str, api_token: str, report_secret: str) -> FastAPI:  # noqa: C901 -- routes that share one engine
    """Return the app; ``report_secret`` (``whsec_…``) signs reports as the Standard Webhooks specification says."""
    engine, webhook = create_async_engine(database_url, pool_pre_ping=True), Webhook(report_secret)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as conn:
            await conn.run_sync(processes.metadata.create_all)
        yield
        await engine.dispose()

    async def authorised(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {api_token}".encode()):
            raise _problem(401, "unauthorized", "send the API token as 'Authorization: Bearer …'")

    app = FastAPI(lifespan=lifespan)

    @app.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(error.detail, error.status_code, media_type="application/problem+json")

    @app.exception_handler(RequestValidationError)
    async def refuse_field(request: Request, error: RequestValidationError) -> JSONResponse:
        rules = [{"field": ".".join(map(str, each["loc"])), "rule": each["msg"]} for each in error.errors()]
        return await refuse(request, _problem(422, "validation_failed", "a field breaks its rule", errors=rules))

    @app.post("/v1/processes", status_code=202, dependencies=[Depends(authorised)])
    async def submit(wanted: Submit, response: Response, idempotency_key: Key = None) -> dict[str, Any]:
        asked = wanted.canonical()
        digest = hashlib.sha256(asked.encode()).hexdigest()
        values = wanted.model_dump(include=set(COORDINATE)) | {"request": asked, "request_hash": digest}
        values["idempotency_key"] = idempotency_key
        async with engine.begin() as conn:
            made = insert(processes).values(values).on_conflict_do_nothing().returning(processes)
            row = (await conn.execute(made)).mappings().one_or_none() or await _conflict(conn, values)
        response.headers["Location"] = f"/v1/processes/{row['id']}"
        return _view(row) | {"state": "accepted"}  # the same answer for every repetition

    @app.get("/v1/processes/{process_id}", dependencies=[Depends(authorised)])
    async def show(process_id: uuid.UUID) -> dict[str, Any]:
        async with engine.connect() as conn:
            row = (await conn.execute(select(processes).where(processes.c.id == process_id))).mappings().one_or_none()
        if row is None:
            raise _problem(404, "not_found", "there is no such process")
        return _view(row) | {"outcome": row["outcome"] and json.loads(row["outcome"]), "ended_at": row["ended_at"]}

    @app.post("/v1/processes/callback", status_code=204)
    async def end(request: Request) -> None:
        try:
            data = webhook.verify(await request.body(), dict(request.headers))["data"]
            process_id, state = uuid.UUID(data["process_id"]), FINAL(data["state"]).value
        except WebhookVerificationError:
            raise _problem(
                401, "unauthorized", "the report is not signed with the shared secret, or is too old"
            ) from None
        except (KeyError, TypeError, ValueError):
            raise _problem(
                422, "validation_failed", "send a callback's body: contracts/schemas/callback.json"
            ) from None
        mine = processes.c.id == process_id
        ended = {"state": state, "outcome": json.dumps(data), "ended_at": func.now()}
        async with engine.begin() as conn:
            await conn.execute(update(processes).where(mine, processes.c.state == "accepted").values(ended))
            before = await conn.scalar(select(processes.c.state).where(mine))
        if before is None:
            raise _problem(404, "not_found", "there is no such process")
        if before != state:
            raise _problem(409, "attempt_superseded", f"the process is {before}, for ever")

    return app
