"""All servers and steps of the embedded stack, in the order in which people think of them."""

from deploy.local.control_plane import api, migrations, publish, worker
from deploy.local.dagster import DagsterServers
from deploy.local.kafka import KafkaNode
from deploy.local.postgres import PostgresCluster
from deploy.local.s3 import s3_server
from deploy.local.server import Server, Step
from deploy.local.site import Site

SERVER_NAMES = ("postgres", "s3", "kafka", "code-location", "webserver", "daemon", "api", "worker")
"""The servers, without the steps; known without a site, so that ``lakemill status`` needs none."""


def plan(site: Site) -> list[Server | Step]:
    """Return what ``lakemill up`` starts."""
    dagster = DagsterServers(site)
    return [
        PostgresCluster(site).server(),
        s3_server(site),
        KafkaNode(site).server(),
        migrations(site),
        dagster.orphans(),
        dagster.code_location(),
        dagster.webserver(),
        dagster.daemon(),
        api(site),
        worker(site),
        publish(site),
    ]
