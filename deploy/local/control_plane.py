"""The control plane's servers: migrations first, then the API and the worker; last, the catalogue of actions."""

from deploy.local import probes
from deploy.local.server import Server, Step
from deploy.local.site import Site


def migrations(site: Site) -> Step:
    """Return the step that brings the control plane's tables up to date."""
    return Step("migrations", site.python("-m", "control.migrate"), needs=("postgres",))


def api(site: Site) -> Server:
    """Return the REST API; ready when it reaches its database."""
    host, port = site.ports.host, site.ports.of("api")
    # A connection that is kept is closed by the client, or by what lies between: both give it a minute at most. Closed
    # here after uvicorn's five seconds, it takes with it what is just being sent.
    options = ("--timeout-keep-alive", "620", "--timeout-graceful-shutdown", "5", "--no-access-log")
    return Server(
        name="api",
        command=site.python(
            "-m", "uvicorn", "--factory", "api.app:create_app", "--host", host, "--port", str(port), *options
        ),
        address=f"http://{site.ports.address('api')}",
        is_ready=lambda _: probes.http_ok(host, port, "/readyz"),
        needs=("migrations", "orphans"),
    )


def worker(site: Site) -> Server:
    """Return the worker; ready when its heartbeat file is younger than its start."""
    heartbeat = site.state_dir / "worker.heartbeat"
    return Server(
        name="worker",
        command=site.python("-m", "control.worker"),
        address="",
        is_ready=lambda started_at: probes.newer_than(heartbeat, started_at),
        needs=("migrations", "orphans", "kafka", "s3"),
        env={"LAKEMILL_WORKER_HEARTBEAT_FILE": str(heartbeat)},
    )


def publish(site: Site) -> Step:
    """Return the step that tells the API which actions this repository offers."""
    return Step("publish", site.python("-m", "assets.publish"), needs=("api",))
