"""``lakemill topics …``: the log between the planes, and the direct topics. Needs Kafka's settings and nothing else."""

from typing import Annotated

import typer

from cli.settings import read_settings

app = typer.Typer(no_args_is_help=True, help="The topics that Lakemill works with.")


@app.callback()
def _group() -> None:
    """Keep ``ensure`` a command of a group, although it is the only one."""


@app.command()
def ensure(
    partitions: Annotated[int, typer.Option(min=1, max=10_000, help="At least so many.")] = 4,
    replication_factor: Annotated[
        int | None, typer.Option(min=1, max=100, help="Copies of each partition. Default: the broker's own.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, max=3600, help="Seconds to try while no broker answers.")] = 60.0,
) -> None:
    """Create the topics that are missing; say what an existing one of the log lacks. None is ever changed."""
    from resources.kafka.admin import ensure_direct_topics, ensure_topic
    from resources.settings import kafka_settings

    settings = read_settings(kafka_settings)
    made = ensure_topic(settings, partitions=partitions, replication_factor=replication_factor, wait_seconds=wait)
    typer.echo(f"{settings.kafka_topic} {'is made' if made else 'was there and is as it must be'}.")
    direct = ensure_direct_topics(settings, partitions=partitions, replication_factor=replication_factor)
    for topic, is_made in direct.items():
        typer.echo(f"{topic} {'is made' if is_made else 'was there'}, for {settings.direct_topics[topic]}.")


def register(root: typer.Typer) -> None:
    """Add ``topics`` to the command line."""
    root.add_typer(app, name="topics")
