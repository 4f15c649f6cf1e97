"""What a request would become: every check and decision that needs no transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.messages import ProcessRequest, Profile, ResourceProfile
from contracts.problems import ProblemError
from contracts.reports import REPORT_PATH, ActionEntry
from contracts.tenancy import Tenant, TenantLimits, cores_of
from contracts.views import GrantedProfile
from control.accepting.inputs import InputCheck, resolve
from control.accepting.params import check_params
from control.accepting.source import check_source
from control.actions import OFFER, Offer
from control.recovery.state import recovering
from control.rules.sizing import decide
from control.tenancy.ownership import OWNERS, check_entities
from resources.callbacks.addresses import CallbackForbiddenError, check_callback_url
from resources.callbacks.networks import parse_networks
from resources.database import Database
from resources.settings import ControlSettings

_LOOK_UP = OFFER.add_columns(OWNERS.label("owners"))


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that may be accepted, and what was decided about it."""

    tenant: Tenant
    request: ProcessRequest
    request_hash: str
    action: ActionEntry
    profile: GrantedProfile
    inputs: dict[str, Coordinate]
    callback_url: str | None
    """Where to deliver to; None also when the request names our own report address."""
    planned_at: datetime
    """By the database's clock."""

    @property
    def deadline_at(self) -> datetime:
        """When the process will expire."""
        return self.planned_at + timedelta(seconds=self.request.deadline_seconds)

    @property
    def target(self) -> Coordinate:
        """Where the result will be published."""
        return Coordinate(self.request.entity_id, self.request.data_version, self.action.dataset)


@dataclass(frozen=True, slots=True)
class Found:
    """What the database knows of what a request names."""

    offered: Offer
    inputs: dict[str, Coordinate]


async def offer_for(conn: AsyncConnection, request: ProcessRequest) -> Offer:
    """Return the action and the profile that are asked for.

    Raises ProblemError: unknown_action, action_changed; recovering, as long as nothing may be accepted.
    """
    return _offered((await conn.execute(OFFER, _names(request))).one_or_none(), request)


def _names(request: ProcessRequest) -> dict[str, Any]:
    by_name = None if isinstance(request.resource_profile, ResourceProfile) else request.resource_profile
    return {"action": request.action, "profile": by_name}


def _offered(row: Row[Any] | None, request: ProcessRequest) -> Offer:
    if row is None:
        raise ProblemError("unknown_action", f"no action {request.action!r} is published")
    offered = Offer.of(row)
    if offered.is_recovering:
        raise recovering()
    digest = offered.action.digest
    if request.action_digest not in {None, digest}:
        raise ProblemError("action_changed", f"{request.action} is published with another digest", digest=digest)
    return offered


def check_alone(
    offered: Offer, settings: ControlSettings, tenant: Tenant, request: ProcessRequest
) -> tuple[GrantedProfile, str | None]:
    """Check what needs no look at entities and inputs; returns the least grant, and where to deliver to.

    Raises ProblemError: validation_failed, callback_forbidden, source_forbidden.
    """
    callback_url = external_callback(request.callback_url, settings)
    profile = _asked(request, offered)
    _within_bounds(profile.granted, tenant.limits)
    check_params(request.params, offered.action.params_schema)
    if offered.action.registers:
        check_source(request, settings, tenant)
    return profile, callback_url


async def look_up(conn: AsyncConnection, tenant: Tenant, request: ProcessRequest) -> Found:
    """Return the action and the profile that are asked for, and where its inputs lie, which the tenant may read.

    Raises ProblemError: unknown_action, action_changed, recovering, validation_failed, not_found, missing_input.
    """
    entity_ids = {request.entity_id, *(place.entity_id for place in request.inputs.values())}
    row = (await conn.execute(_LOOK_UP, {**_names(request), "entity_ids": sorted(entity_ids)})).one_or_none()
    offered = _offered(row, request)
    target = Coordinate(request.entity_id, request.data_version, offered.action.dataset)
    inputs = resolve(request, offered.action)
    check_entities(None if row is None else row.owners, tenant, target, inputs)
    return Found(offered, inputs)


async def make_plan(
    inputs: InputCheck, settings: ControlSettings, tenant: Tenant, request: ProcessRequest, found: Found
) -> Plan:
    """Check ``request`` against what was found, the tenant's bounds, and what exists.

    Raises ProblemError: validation_failed, callback_forbidden, source_forbidden, missing_input.
    """
    offered = found.offered
    asked, callback_url = check_alone(offered, settings, tenant, request)
    evidence = await inputs.evidence(tenant, offered.action, request.entity_id, found.inputs)
    named = {name: Profile.model_validate(figures) for name, figures in offered.named.items()}
    return Plan(
        tenant=tenant,
        request=request,
        request_hash=request.request_hash(),
        action=offered.action,
        profile=decide(asked, named, evidence, tenant.limits),
        inputs=found.inputs,
        callback_url=callback_url,
        planned_at=offered.at,
    )


async def plan_of(
    db: Database, inputs: InputCheck, settings: ControlSettings, tenant: Tenant, request: ProcessRequest
) -> Plan:
    """Return the plan of a request. Raises what ``look_up`` and ``make_plan`` raise."""
    async with db.reading() as conn:
        found = await look_up(conn, tenant, request)
    return await make_plan(inputs, settings, tenant, request, found)


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


def _asked(request: ProcessRequest, offered: Offer) -> GrantedProfile:
    wanted, default = request.resource_profile, offered.action.profile
    if isinstance(wanted, ResourceProfile):
        return GrantedProfile(requested=wanted, granted=Profile(**wanted.model_dump()), reason="as requested")
    if offered.profile is None:
        errors = [{"field": "resource_profile", "rule": "is not a known profile"}]
        raise ProblemError("validation_failed", f"no profile is called {wanted or default!r}", errors=errors)
    reason = f"the profile {wanted!r}, as requested" if wanted else f"the action's own profile, {default!r}"
    return GrantedProfile(requested=wanted, granted=offered.profile, reason=reason)


def _within_bounds(profile: Profile, limits: TenantLimits) -> None:
    broken = [(f"resource_profile.{name}", rule) for name, rule in limits.profile.broken_by(profile)]
    most = limits.in_flight_cores
    if most is not None and cores_of(profile) > most:
        broken.append(("resource_profile", f"has {cores_of(profile)} cores in all; your tenant may use {most} at once"))
    if broken:
        errors = [{"field": field, "rule": rule} for field, rule in broken]
        raise ProblemError("validation_failed", "the profile is larger than your tenant may ask for", errors=errors)
