"""``lakemill doctor``: is this deployment what Lakemill needs it to be?"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli import exits
from cli.doctor.check import Group, Status


def doctor(  # noqa: PLR0913, PLR0917 - one for each option
    only: Annotated[list[Group] | None, typer.Option(help="Make this group's checks only; repeat it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is a failure too.")] = False,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds of the conditional PUT.")] = 20,
    writers: Annotated[int, typer.Option(min=2, max=64, help="Writers in each of them.")] = 8,
    callback: Annotated[str | None, typer.Option(help="A receiver that gets a signed test callback.")] = None,
    logs: Annotated[str | None, typer.Option(help="The bucket of Dagster's compute logs.")] = None,
    namespace: Annotated[str | None, typer.Option(help="The release's Kubernetes namespace.")] = None,
    release: Annotated[str | None, typer.Option(help="The release's full name.")] = None,
    image: Annotated[str | None, typer.Option(help="The compute image to try.")] = None,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions that the topic must have.")] = 1,
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies that each must have.")] = 1,
) -> None:
    """Check this deployment: one line per check, and what to do about it (docs/checklist.md)."""
    from cli.doctor import report
    from cli.doctor.checks import ALL
    from cli.doctor.running import run_checks
    from cli.doctor.site import ConfigurationError, Options, Site

    options = Options(
        writers=writers,
        rounds=rounds,
        callback=callback,
        logs_bucket=logs,
        namespace=namespace,
        release=release,
        image=image,
        partitions=partitions,
        replication_factor=replication_factor,
    )
    try:
        site = Site.from_environment(options)
    except ConfigurationError as error:
        typer.echo(f"A setting cannot be used: {error}", err=True)
        raise typer.Exit(exits.CONFIG) from None
    outcomes = []
    with _quiet():
        for outcome in run_checks(site, ALL, only or ()):
            outcomes.append(outcome)
            if not as_json:
                typer.echo(report.line(*outcome))
    typer.echo(json.dumps(report.document(outcomes), indent=2) if as_json else report.summary(outcomes))
    if junit is not None:
        junit.write_text(report.junit(outcomes))
    _exit({result.status for _, result in outcomes}, strict=strict)


def _exit(statuses: set[Status], *, strict: bool) -> None:
    if Status.FAIL in statuses or (strict and Status.WARN in statuses):
        raise typer.Exit(exits.FAILED)
    if statuses == {Status.SKIP}:
        typer.echo("Nothing is configured here: set LAKEMILL_… as the deployment does.", err=True)
        raise typer.Exit(exits.CONFIG)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own words out of the lines: every finding is told by a check."""
    import structlog

    before = structlog.get_config()
    structlog.configure(**{**before, "wrapper_class": structlog.make_filtering_bound_logger(logging.CRITICAL)})
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


def register(root: typer.Typer) -> None:
    """Add ``doctor`` to the command line."""
    root.command("doctor")(doctor)
