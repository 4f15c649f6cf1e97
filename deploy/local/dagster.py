"""Dagster in three servers: the code location that holds our definitions, the daemon and the webserver."""

import shutil
from pathlib import Path
from typing import Any

from deploy.local import probes
from deploy.local.server import Server, Step
from deploy.local.site import Site

LOCATION = "lakemill"
_INSTANCE = Path(__file__).parent / "dagster.yaml"
_LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename } } } } }"""
_HEARTBEATS = """{ instance { daemonHealth { allDaemonStatuses {
    daemonType required healthy lastHeartbeatTime } } } }"""


class DagsterServers:
    """The three servers; they share DAGSTER_HOME and one workspace file, both written anew at each start."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._home = site.folder("dagster")
        self._workspace = self._home / "workspace.yaml"
        variables = site.variables
        self.env = {
            "DAGSTER_HOME": str(self._home),
            "DAGSTER_POSTGRES_URL": (
                f"postgresql://dagster:{variables['LAKEMILL_DAGSTER_PASSWORD']}"
                f"@{site.ports.address('postgres')}/dagster"
            ),
            # For the compute logs: dagster-aws knows no other way to be given credentials.
            "AWS_ACCESS_KEY_ID": variables["LAKEMILL_S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": variables["LAKEMILL_S3_SECRET_KEY"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def orphans(self) -> Step:
        """Return the step that fails the runs which were in progress when the stack last stopped.

        It is the first to open Dagster's storage, so it also creates the tables.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_INSTANCE, self._home / "dagster.yaml")
        port = self._site.ports.of("code-location")
        self._workspace.write_text(
            f"load_from:\n- grpc_server: {{host: {self._site.ports.host}, port: {port}, location_name: {LOCATION}}}\n"
        )
        return Step("orphans", self._site.python("-m", "orchestration.orphans"), needs=("postgres",), env=self.env)

    def code_location(self) -> Server:
        """Return the server of our definitions; it listens only after it has loaded them."""
        port = self._site.ports.of("code-location")
        arguments = ("api", "grpc", "-h", self._site.ports.host, "-p", str(port), "-m", self._site.definitions)
        return Server(
            name="code-location",
            command=self._site.python("-m", "dagster", *arguments, "-d", ".", "--use-python-environment-entry-point"),
            address=self._site.ports.address("code-location"),
            is_ready=lambda _: probes.accepts(self._site.ports.host, port),
            needs=("s3", "orphans"),
            env=self.env,
            deadline=120,
            grace=2,  # it would wait for the sensor's long poll to end
        )

    def daemon(self) -> Server:
        """Return the daemon; ready when each part of it that must run has sent a heartbeat since the start."""
        return Server(
            name="daemon",
            command=self._site.python("-m", "dagster._daemon", "run", "-w", str(self._workspace)),
            address="",
            is_ready=self._daemon_beats,
            needs=("kafka", "code-location"),
            env=self.env,
            deadline=120,
        )

    def webserver(self) -> Server:
        """Return the operators' UI; ready when it has loaded our code location."""
        host, port = self._site.ports.host, str(self._site.ports.of("webserver"))
        return Server(
            name="webserver",
            command=self._site.python("-m", "dagster_webserver", "-h", host, "-p", port, "-w", str(self._workspace)),
            address=f"http://{self._site.ports.address('webserver')}",
            is_ready=lambda _: self._location_loaded(),
            needs=("code-location",),
            env=self.env,
            deadline=120,
        )

    def _location_loaded(self) -> bool:
        workspace = self._ask(_LOADED).get("workspaceOrError", {})
        return any(
            (entry.get("locationOrLoadError") or {}).get("__typename") == "RepositoryLocation"
            for entry in workspace.get("locationEntries", [])
        )

    def _daemon_beats(self, started_at: float) -> bool:
        health = self._ask(_HEARTBEATS).get("instance", {}).get("daemonHealth", {})
        required = [status for status in health.get("allDaemonStatuses", []) if status["required"]]
        return bool(required) and all(
            status["healthy"] and (status["lastHeartbeatTime"] or 0) >= started_at for status in required
        )

    def _ask(self, query: str) -> dict[str, Any]:
        return probes.graphql(self._site.ports.host, self._site.ports.of("webserver"), query)
