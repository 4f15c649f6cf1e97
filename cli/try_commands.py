"""``lakemill land | listen``: what a first try needs beside ``curl``: raw files, and somebody who is called back."""

from pathlib import Path
from typing import Annotated

import typer

from cli.settings import read_settings

_PANEL = "Try it"


def register(root: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (land, listen):
        root.command(rich_help_panel=_PANEL)(command)


def land(
    entity_id: Annotated[str, typer.Argument(help="Whose data it is.")],
    data_version: Annotated[str, typer.Argument(help="Which version of the data.")],
    name: Annotated[str, typer.Argument(help="The name of the ingest action's input.")],
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV or Parquet files.")],
) -> None:
    """Deliver raw files to the landing bucket, where an ingest action reads them."""
    from contracts.identity import Coordinate
    from contracts.storage import landing_prefix
    from resources.lake.store import S3Lake
    from resources.settings import lake_settings

    try:
        prefix = landing_prefix(Coordinate(entity_id, data_version, name))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    settings = read_settings(lake_settings)
    landing = S3Lake(settings, settings.landing_bucket)
    for file in files:
        landing.put(f"{prefix}{file.name}", file.read_bytes())
        typer.echo(landing.url(f"{prefix}{file.name}"))


def listen(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port to listen at.")] = 9000,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many callbacks.")] = None,
    host: Annotated[str, typer.Option(help="The address of this machine to listen at.")] = "127.0.0.1",
) -> None:
    """Receive callbacks as a customer would: verify the signature, drop repetitions, print each once."""
    from itertools import count as forever

    from cli.demo.receiver import CallbackReceiver
    from cli.keys import secret_of
    from contracts.tenancy import DEFAULT_TENANT

    secret = secret_of(DEFAULT_TENANT)
    try:
        listening = CallbackReceiver(secret, port, host)
    except OSError as error:
        raise typer.BadParameter(f"{error.strerror}; choose another one", param_hint="--port") from error
    with listening as receiver:
        typer.echo(f"Listening on http://{host}:{port}, any path.", err=True)
        for _ in range(count) if count else forever():
            callback = receiver.callbacks.get()
            typer.echo(f"The signature of the callback for {callback.data.process_id} is verified:", err=True)
            typer.echo(callback.model_dump_json(indent=1))
