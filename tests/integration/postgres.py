"""One PostgreSQL for a test session, from the binaries that the embedded stack uses too, with a folder of its own."""

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
_START_SECONDS = 30
# Nothing here must survive a power cut.
_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def postgres() -> Iterator[str]:
    """Yield ``user@host:port`` of a running, empty server; stop it and remove its files at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lakemill-pg-"))
    give_away(folder)
    data, port = folder / "data", free_port()
    initdb = [str(BIN / "initdb"), "-D", str(data), "-U", "lakemill", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*unprivileged(), *initdb, "--locale=C"], check=True, capture_output=True, cwd=folder)
    server = [str(BIN / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
    options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*unprivileged(), *server, *options], stdout=log, stderr=log, cwd=folder)
    try:
        _wait(process, port, folder / "log")
        yield f"lakemill@127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)  # the fast shutdown: clients are cut off
        process.wait(30)
        shutil.rmtree(folder)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    ready = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
    while subprocess.run(ready, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
