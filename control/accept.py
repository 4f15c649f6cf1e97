"""Accept: a request becomes a process, once, in one transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.messages import ProcessRequest, Profile, ResourceProfile
from contracts.problems import ProblemError
from contracts.reports import REPORT_PATH, ActionEntry
from contracts.states import State
from contracts.views import Accepted, GrantedProfile
from control.actions import Offer, offer
from control.inputs import InputCheck, resolve
from control.params import check_params
from control.snapshots import known
from control.statements import insert_if_free
from control.tables import ACTIVE_SQL, idempotency_keys, outbox, processes
from control.transitions import note
from resources.callbacks import CallbackForbiddenError, check_callback_url
from resources.database import Database
from resources.faults import crash_point
from resources.networks import parse_networks
from resources.settings import ControlSettings

_INSERT_TRIES = 5
_KEY_IF_FREE = insert_if_free(idempotency_keys, "tenant_id key request_hash process_id response", "(tenant_id, key)")
_PROCESS_IF_FREE = insert_if_free(
    processes,
    "id tenant_id entity_id data_version dataset action action_digest request request_hash callback_url profile"
    " priority state created_at deadline_at",
    f"(entity_id, data_version, dataset) WHERE {ACTIVE_SQL.text}",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a 202, and whether an earlier request with this Idempotency-Key got it first."""

    body: dict[str, Any]
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request after every check that needs no transaction."""

    tenant: str
    request: ProcessRequest
    request_hash: str
    key: str | None
    action: ActionEntry
    profile: GrantedProfile
    callback_url: str | None
    accepted_at: datetime

    @property
    def deadline_at(self) -> datetime:
        return self.accepted_at + timedelta(seconds=self.request.deadline_seconds)

    @property
    def target(self) -> Coordinate:
        return Coordinate(self.request.entity_id, self.request.data_version, self.action.dataset)


async def accept(
    db: Database,
    inputs: InputCheck,
    settings: ControlSettings,
    tenant: str,
    request: ProcessRequest,
    key: str | None = None,
) -> Answer:
    """Make a process of ``request``, or return the first answer to the same Idempotency-Key.

    Raises ProblemError: idempotency_key_reused, unknown_action, action_changed, validation_failed, callback_forbidden,
    missing_input, process_active, version_already_published, version_retired. Nothing is stored then.
    """
    request_hash = request.request_hash()
    async with db.reading() as conn:
        first = await _first_answer(conn, tenant, key, request_hash)
        if first is not None:
            return first
        offered = await _offer(conn, request)
    callback_url = external_callback(request.callback_url, settings)
    profile = _grant(request, offered)
    check_params(request.params, offered.action.params_schema)
    await inputs.require(resolve(request, offered.action))
    plan = _Plan(tenant, request, request_hash, key, offered.action, profile, callback_url, offered.at)
    async with db.transaction() as conn:
        answer = await _store(conn, plan)
    crash_point("A3")
    return answer


def external_callback(url: str | None, settings: ControlSettings) -> str | None:
    """Return the address to deliver to, None when there is none or it is our own report address.

    Raises ProblemError (callback_forbidden) naming the broken rule.
    """
    if url is None or url in {*settings.own_report_urls, f"{settings.api_url.rstrip('/')}{REPORT_PATH}"}:
        return None
    try:
        check_callback_url(url, parse_networks(settings.callback_allow))
    except CallbackForbiddenError as error:
        raise ProblemError("callback_forbidden", f"callback_url: {error}") from error
    return url


async def _first_answer(conn: AsyncConnection, tenant: str, key: str | None, request_hash: str) -> Answer | None:
    if key is None:
        return None
    query = select(idempotency_keys).where(idempotency_keys.c.tenant_id == tenant, idempotency_keys.c.key == key)
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    if row["request_hash"] != request_hash:
        raise ProblemError("idempotency_key_reused", "this Idempotency-Key was accepted with another body")
    return Answer(row["response"], is_repeated=True)


async def _offer(conn: AsyncConnection, request: ProcessRequest) -> Offer:
    by_name = None if isinstance(request.resource_profile, ResourceProfile) else request.resource_profile
    offered = await offer(conn, request.action, by_name)
    if offered is None:
        raise ProblemError("unknown_action", f"no action {request.action!r} is published")
    digest = offered.action.digest
    if request.action_digest not in {None, digest}:
        raise ProblemError("action_changed", f"{request.action} is published with another digest", digest=digest)
    return offered


def _grant(request: ProcessRequest, offered: Offer) -> GrantedProfile:
    wanted, default = request.resource_profile, offered.action.profile
    if isinstance(wanted, ResourceProfile):
        return GrantedProfile(requested=wanted, granted=Profile(**wanted.model_dump()), reason="as requested")
    if offered.profile is None:
        errors = [{"field": "resource_profile", "rule": "is not a known profile"}]
        raise ProblemError("validation_failed", f"no profile is called {wanted or default!r}", errors=errors)
    reason = f"the profile {wanted!r}, as requested" if wanted else f"the action's own profile, {default!r}"
    return GrantedProfile(requested=wanted, granted=offered.profile, reason=reason)


async def _store(conn: AsyncConnection, plan: _Plan) -> Answer:
    process_id = uuid_utils.compat.uuid7()
    body = _body(plan, process_id)
    if plan.key is not None:
        first = await _claim_key(conn, plan, plan.key, process_id, body)
        if first is not None:
            return first
    await _insert(conn, plan, process_id)
    crash_point("A1")
    await _refuse_published(conn, plan.target)
    await conn.execute(insert(outbox).values(process_id=process_id, attempt=1))
    crash_point("A2")
    who, actor = {"id": process_id, "attempt": 1}, f"tenant:{plan.tenant}"
    await note(conn, who, kind="accepted", actor=actor, at=plan.accepted_at, states=(None, State.ACCEPTED))
    return Answer(body, is_repeated=False)


def _body(plan: _Plan, process_id: UUID) -> dict[str, Any]:
    return Accepted(
        process_id=process_id,
        state=State.ACCEPTED,
        entity_id=plan.request.entity_id,
        data_version=plan.request.data_version,
        action=plan.action.name,
        dataset=plan.action.dataset,
        accepted_at=plan.accepted_at,
        deadline_at=plan.deadline_at,
        links={"self": f"/v1/processes/{process_id}"},
    ).model_dump(mode="json")


async def _claim_key(
    conn: AsyncConnection, plan: _Plan, key: str, process_id: UUID, body: dict[str, Any]
) -> Answer | None:
    """Take the key, or return its first answer. A rival that holds it uncommitted is waited for."""
    row = {
        "tenant_id": plan.tenant,
        "key": key,
        "request_hash": plan.request_hash,
        "process_id": process_id,
        "response": body,
    }
    for _ in range(_INSERT_TRIES):
        if (await conn.execute(_KEY_IF_FREE, row)).rowcount == 1:
            return None
        first = await _first_answer(conn, plan.tenant, key, plan.request_hash)
        if first is not None:
            return first
    raise ProblemError("database_unavailable", "the Idempotency-Key changed hands too often")


async def _insert(conn: AsyncConnection, plan: _Plan, process_id: UUID) -> None:
    """Take the coordinate. Raises ProblemError (process_active) when another process has it."""
    target, request = plan.target, plan.request
    row = {
        "id": process_id,
        "tenant_id": plan.tenant,
        "entity_id": target.entity_id,
        "data_version": target.data_version,
        "dataset": target.dataset,
        "action": plan.action.name,
        "action_digest": plan.action.digest,
        "request": request.model_dump(mode="json"),
        "request_hash": plan.request_hash,
        "callback_url": plan.callback_url,
        "profile": plan.profile.model_dump(mode="json"),
        "priority": request.priority,
        "state": State.ACCEPTED.value,
        "created_at": plan.accepted_at,
        "deadline_at": plan.deadline_at,
    }
    for _ in range(_INSERT_TRIES):
        if (await conn.execute(_PROCESS_IF_FREE, row)).rowcount == 1:
            return
        await _refuse_active(conn, plan)
    raise ProblemError("process_active", f"{target}: processes come and go; try again")


async def _refuse_active(conn: AsyncConnection, plan: _Plan) -> None:
    target = plan.target
    query = select(processes.c.id, processes.c.tenant_id).where(
        processes.c.entity_id == target.entity_id,
        processes.c.data_version == target.data_version,
        processes.c.dataset == target.dataset,
        ACTIVE_SQL,
    )
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is not None:
        own = {"process_id": str(row["id"])} if row["tenant_id"] == plan.tenant else {}
        raise ProblemError("process_active", f"{target} is being computed already", **own)


async def _refuse_published(conn: AsyncConnection, target: Coordinate) -> None:
    row = (await known(conn, [target])).get(target)
    if row is None:
        return
    if row["retired_at"] is not None:
        raise ProblemError("version_retired", f"{target} was retired at {row['retired_at'].isoformat()}")
    raise ProblemError("version_already_published", f"{target} is published", snapshot=row["artifact"])
