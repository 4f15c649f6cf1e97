"""``lakemill tenants …``: tenants, their limits and their entities. Talks to the control plane's database."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import administrator, in_database
from contracts.reading import sentences
from contracts.tenancy import Tenant, TenantLimits

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

app = typer.Typer(no_args_is_help=True, help="Tenants, their limits, and whose an entity is.")

_Name = Annotated[str, typer.Argument(help="The tenant's id.")]
_Entity = Annotated[str, typer.Argument(help="An entity_id.")]
_Pattern = Annotated[str | None, typer.Option(help="Entities that it may claim: '*' any characters, '?' one.")]
_Limits = Annotated[
    str | None,
    typer.Option(help="A JSON object: requests_per_second, backlog, in_flight, in_flight_cores, weight, profile {…}."),
]


@app.command()
def create(tenant: _Name, pattern: _Pattern = None, limits: _Limits = None) -> None:
    """Make a tenant. It needs a key then: 'lakemill keys create --tenant …'."""
    from control.tenancy import tenants

    made = _tenant(tenant, None, pattern, limits)
    in_database(lambda conn: tenants.create(conn, made, administrator()))
    typer.echo(f"{tenant} is there.")


@app.command("set")
def change(tenant: _Name, pattern: _Pattern = None, limits: _Limits = None) -> None:
    """Change a tenant's pattern, or its limits: those named take the place of all that it had."""
    from control.tenancy import tenants

    async def work(conn: "AsyncConnection") -> Tenant:
        now = await tenants.get(conn, tenant, is_locked=True)
        changed = _tenant(tenant, now, pattern, limits)
        await tenants.change(conn, changed, administrator())
        return changed

    typer.echo(in_database(work).model_dump_json(indent=1))


@app.command("ls")
def list_tenants() -> None:
    """List all tenants with what limits them."""
    from rich.console import Console
    from rich.table import Table

    from control.tenancy import tenants

    table = Table("tenant", "may claim", "limits", box=None, padding=(0, 2, 0, 0))
    for each in in_database(tenants.listing):
        limits = each.limits.model_dump(mode="json", exclude_defaults=True)
        table.add_row(each.id, each.entity_pattern, json.dumps(limits) if limits else "")
    Console(highlight=False).print(table)


@app.command()
def give(entity_id: _Entity, tenant: _Name) -> None:
    """Make an entity a tenant's, whoever had it before."""
    from control.tenancy import tenants

    in_database(lambda conn: tenants.give(conn, entity_id, tenant, administrator()))
    typer.echo(f"{entity_id} is {tenant}'s.")


@app.command()
def share(
    entity_id: _Entity,
    readers: Annotated[list[str] | None, typer.Argument(help="Who may read it; '*' for all.")] = None,
) -> None:
    """Let exactly these tenants read an entity beside its owner."""
    from control.tenancy import tenants

    in_database(lambda conn: tenants.share(conn, entity_id, readers or [], administrator()))
    typer.echo(f"{entity_id} is shared with {', '.join(readers or []) or 'nobody'}.")


@app.command()
def log(count: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many lines.")] = 50) -> None:
    """Show what administrators did, newest first."""
    from control.tenancy.admin_log import newest

    for line in in_database(lambda conn: newest(conn, count)):
        at = line["at"].isoformat(timespec="seconds")
        typer.echo(f"{at} {line['actor']} {line['kind']} {line['tenant_id'] or '-'} {json.dumps(line['detail'])}")


def _tenant(name: str, now: Tenant | None, pattern: str | None, limits: str | None) -> Tenant:
    from pydantic import ValidationError

    try:
        now = now or Tenant(id=name)
        return Tenant(
            id=name,
            entity_pattern=now.entity_pattern if pattern is None else pattern,
            limits=now.limits if limits is None else TenantLimits.model_validate_json(limits),
        )
    except ValidationError as error:
        raise typer.BadParameter("; ".join(sentences(error))) from None


def register(root: typer.Typer) -> None:
    """Add ``tenants`` to the command line."""
    root.add_typer(app, name="tenants")
