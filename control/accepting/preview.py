"""What a submit would become, without accepting it."""

from dataclasses import asdict

from contracts.messages import ProcessRequest
from contracts.tenancy import Tenant
from contracts.views import Preview, ResolvedInput
from control.accepting.conflicts import refuse_active, refuse_backlog, refuse_published
from control.accepting.inputs import InputCheck
from control.accepting.planning import plan_of
from resources.database import Database
from resources.settings import ControlSettings


async def preview(
    db: Database, inputs: InputCheck, settings: ControlSettings, tenant: Tenant, request: ProcessRequest
) -> Preview:
    """Return what ``accept`` would make of ``request``; nothing is stored. Raises ProblemError like ``accept``."""
    plan = await plan_of(db, inputs, settings, tenant, request)
    async with db.reading() as conn:
        await refuse_backlog(conn, tenant)
        await refuse_active(conn, plan)
        await refuse_published(conn, plan.target)
    return Preview(
        entity_id=plan.target.entity_id,
        data_version=plan.target.data_version,
        dataset=plan.target.dataset,
        action=plan.action.name,
        action_digest=plan.action.digest,
        inputs={name: ResolvedInput(**asdict(place)) for name, place in plan.inputs.items()},
        profile=plan.profile,
        callback_url=plan.callback_url,
        deadline_at=plan.deadline_at,
    )
