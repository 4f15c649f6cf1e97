"""What people read of a rebuild: what it has done, then what somebody should look at, each with what to do."""

from collections.abc import Iterator

import typer

from control.recovery.findings import Findings

_SHOWN = 20


def describe(found: Findings) -> None:
    """Print the findings."""
    typer.echo(
        f"{found.snapshots} snapshots are in the index, {found.restored} were missing; {found.retired} are retired."
    )
    typer.echo(f"{found.owners} entities have their owner again; {found.ended} processes were over and have ended.")
    for title, lines in _groups(found):
        if lines:
            typer.echo(f"\n{title}")
            for line in lines[:_SHOWN]:
                typer.echo(f"  {line}")
            if len(lines) > _SHOWN:
                typer.echo(f"  … and {len(lines) - _SHOWN} more; --json prints all.")
    told = "Submits are accepted again." if found.is_over else "Submits are still refused: mend what stands above."
    typer.echo(f"\n{told}")


def _groups(found: Findings) -> Iterator[tuple[str, list[str]]]:
    yield "Published by processes that the database does not know; were they called back?", found.unknown_processes
    yield "Owned by another tenant than the one that published there last; was it given?", found.other_owners
    yield "Retired and not removed: say 'lakemill snapshots retire' again for each.", found.unfinished
    yield "In the index and not in the lake: lost by the store, or removed by hand.", found.missing
    yield "Cannot be read, and were left as they are:", found.corrupt
    unknown = (
        "Tenants that the database does not know, and their entities. Make each again ('lakemill tenants create'), or"
        " give the entities to another ('lakemill tenants give'); then say 'lakemill snapshots rebuild' again."
    )
    tenants = found.unknown_tenants.items()
    yield unknown, [f"{tenant}: {', '.join(entities[:5])}{_more(entities)}" for tenant, entities in tenants]


def _more(entities: list[str]) -> str:
    return f" and {len(entities) - 5} more" if len(entities) > 5 else ""
