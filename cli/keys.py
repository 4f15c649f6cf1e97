"""``lakemill keys …``: API keys and the secret that signs callbacks. Talks to the control plane's database."""

from datetime import timedelta
from typing import Annotated

import typer

from cli.database import administrator, in_database
from contracts.tenancy import DEFAULT_TENANT, Scope

app = typer.Typer(no_args_is_help=True, help="API keys and the callback secret.")

_Tenant = Annotated[str, typer.Option(help="Who the key speaks for.")]


@app.command()
def create(
    tenant: _Tenant = DEFAULT_TENANT,
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeat it. Default: all.")] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Default: it does not expire.")] = None,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the key only.")] = False,
) -> None:
    """Make a key and print it, for the only time."""
    from control.tenancy import keys  # inside: a command pays for what it uses

    life = None if expires_days is None else timedelta(days=expires_days)
    key = in_database(
        lambda conn: keys.create(conn, tenant, scope or list(Scope), life, actor=administrator())
    ).get_secret_value()
    if not quiet:
        typer.echo("Keep this key; it is not shown again:", err=True)
    typer.echo(key)


@app.command("ls")
def list_keys() -> None:
    """List all keys, without their secrets."""
    from rich.console import Console
    from rich.table import Table

    from control.tenancy import keys

    table = Table("prefix", "tenant", "scopes", "created", "expires", "revoked")
    for row in in_database(keys.listing):
        moments = (row["created_at"], row["expires_at"], row["revoked_at"])
        shown = [moment.isoformat(timespec="seconds") if moment else "" for moment in moments]
        table.add_row(row["prefix"], row["tenant_id"], " ".join(row["scopes"]), *shown)
    Console().print(table)


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(help="The twelve characters after 'lm_'.")]) -> None:
    """Make a key useless from now on."""
    from control.tenancy import keys

    in_database(lambda conn: keys.revoke(conn, prefix, actor=administrator()))
    typer.echo(f"{prefix} is revoked.")


@app.command()
def rotate(
    prefix: Annotated[str, typer.Argument(help="The twelve characters after 'lm_' of the old key.")],
    overlap_hours: Annotated[float, typer.Option(min=0, max=8760, help="How long the old key still works.")] = 24,
) -> None:
    """Print a new key that may do what an old one may; the old one expires when the overlap is over."""
    from control.tenancy import keys

    key = in_database(lambda conn: keys.rotate(conn, prefix, timedelta(hours=overlap_hours), actor=administrator()))
    typer.echo("Keep this key; it is not shown again:", err=True)
    typer.echo(key.get_secret_value())


@app.command("webhook-secret")
def webhook_secret(tenant: _Tenant = DEFAULT_TENANT) -> None:
    """Print the secret that signs the tenant's callbacks (Standard Webhooks)."""
    typer.echo(secret_of(tenant))


@app.command("rotate-webhook-secret")
def rotate_webhook_secret(
    tenant: _Tenant = DEFAULT_TENANT,
    overlap_hours: Annotated[float, typer.Option(min=0, max=8760, help="How long the old one signs too.")] = 24,
) -> None:
    """Print a new secret for the tenant's callbacks; until the overlap is over they carry both signatures."""
    from control.tenancy import webhook_secrets

    life = timedelta(hours=overlap_hours)
    made = in_database(lambda conn: webhook_secrets.rotate(conn, tenant, life, actor=administrator()))
    typer.echo(made.get_secret_value())


def secret_of(tenant: str) -> str:
    """Return the secret that signs the tenant's callbacks."""
    from control.tenancy import webhook_secrets

    return in_database(lambda conn: webhook_secrets.newest_of(conn, tenant)).get_secret_value()


def register(root: typer.Typer) -> None:
    """Add ``keys`` to the command line."""
    root.add_typer(app, name="keys")
