"""PostgreSQL for tests, from the binaries that the embedded stack uses too, with a folder of its own."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.postgres import binaries, give_away, unprivileged

BIN = binaries()
USER = "lakemill"
_START_SECONDS = 30
# Nothing here must survive a power cut.
_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cluster:
    """One server in a folder of its own; it can be backed up while it works, and restored to that moment."""

    def __init__(self, folder: Path) -> None:
        """Make an empty one; it does not run yet."""
        give_away(folder)
        self._folder = folder
        self._data, self._backup = folder / "data", folder / "backup"
        self._server: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._tool("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")

    @property
    def address(self) -> str:
        return f"{USER}@127.0.0.1:{self.port}"

    def start(self) -> None:
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        where = ["-D", str(self._data), "-p", str(self.port), "-k", str(self._folder), "-h", "127.0.0.1"]
        with (self._folder / "log").open("ab") as log:
            command = [*unprivileged(), str(BIN / "postgres"), *where, *options]
            self._server = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._wait(self._server)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it; SIGINT is the fast shutdown, which cuts clients off."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(30)

    def back_up(self) -> None:
        """Take a base backup of the running server, with the log that it needs."""
        connection = ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)
        self._tool("pg_basebackup", "-D", str(self._backup), *connection, "-c", "fast", "-X", "stream", "--no-sync")

    def restore(self) -> None:
        """Put the backup in the place of the stopped server's files, and start it."""
        shutil.rmtree(self._data)
        self._backup.rename(self._data)
        self.start()

    def _tool(self, command: str, *arguments: str) -> None:
        done = [*unprivileged(), str(BIN / command), *arguments]
        subprocess.run(done, check=True, capture_output=True, cwd=self._folder)

    def _wait(self, server: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        ready = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        while subprocess.run(ready, check=False).returncode != 0:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self._folder / 'log').read_text()}")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Yield a running, empty server; stop it and remove its files at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lakemill-pg-"))
    made = Cluster(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@contextmanager
def postgres() -> Iterator[str]:
    """Yield ``user@host:port`` of a running, empty server; stop it and remove its files at the end."""
    with cluster() as made:
        yield made.address
