"""The JVM of a session, started before PySpark is imported: that takes time too, and is needed only to talk to it.

PySpark connects to a JVM that is there where the environment names its port and its secret, as Spark's cluster mode
does; what it would do itself (``pyspark.java_gateway.launch_gateway``) is the same but for the order.
"""

import os
import shlex
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import IO, Any

from resources.spark.storage import SparkUnavailableError

_POLL_SECONDS = 0.01
_START_SECONDS = 300.0
"""Far more than a JVM takes on the busiest machine."""
_STDERR = 2
_MORE_OPTIONS = "PYSPARK_SUBMIT_ARGS"
"""Names an operator's own options, as everywhere with PySpark."""
_PORT, _SECRET = "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"


def live_in_utc() -> None:
    """Make UTC the time zone of this process, and of what it starts: Python turns a naive ``datetime`` by it.

    PySpark lets Python do so with all that comes from rows or goes to them, whatever Spark's own settings say.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()


@contextmanager
def jvm(config: Mapping[str, str], is_heard: Event) -> Iterator[None]:
    """Start the JVM for ``config``; the context that is made in the block is in it.

    It ends when this process does, which lives in UTC from now on. What it says waits until ``is_heard``, and goes
    where our own errors go then. Raises SparkUnavailableError when it ends before it can be talked to.
    """
    live_in_utc()
    with TemporaryDirectory(prefix="lakemill-jvm-") as folder:
        connection = Path(folder) / "connection"
        process = _launch(config, connection)
        Thread(target=_pass_on, args=[process.stdout, is_heard], name="jvm-output", daemon=True).start()
        # Beside the JVM's start. The context imports the last one anyway, and with it pandas where that is installed.
        import pyspark.sql  # noqa: PLC0415
        import pyspark.testing.utils  # noqa: PLC0415

        port, secret = _told(process, connection)
    os.environ |= {_PORT: str(port), _SECRET: secret}
    context: Any = pyspark.SparkContext
    try:
        yield
    except BaseException:
        context._gateway = context._jvm = None  # else the next session would be in this JVM
        process.kill()
        raise
    finally:
        del os.environ[_PORT], os.environ[_SECRET]
    context._gateway.proc = process  # which PySpark knows of a JVM that it has started itself


def _launch(config: Mapping[str, str], connection: Path) -> "Popen[bytes]":
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SparkUnavailableError("the package pyspark is not installed")
    home = Path(spec.origin).parent
    options = [part for name, value in config.items() for part in ("--conf", f"{name}={value}")]
    told = {"SPARK_HOME": str(home), "SPARK_CONNECT_MODE": "0", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(connection)}
    # It reads from us until the end, and so notices ours. An interrupt is for us alone.
    return Popen(  # noqa: S603 - our own settings
        [str(home / "bin" / "spark-submit"), *options, *shlex.split(os.environ.get(_MORE_OPTIONS, "pyspark-shell"))],
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        env={**os.environ, **told},
        start_new_session=True,
    )


def _pass_on(output: IO[bytes], is_heard: Event) -> None:
    is_heard.wait()
    while said := os.read(output.fileno(), 65536):
        with suppress(OSError):  # where nothing more can be written, the JVM must not wait for ever
            os.write(_STDERR, said)


def _told(process: "Popen[bytes]", connection: Path) -> tuple[int, str]:
    """Return the port and the secret that the JVM writes down, as a file that is whole once it is there."""
    give_up_at = time.monotonic() + _START_SECONDS
    while not connection.exists():
        if process.poll() is not None:
            raise SparkUnavailableError(f"the JVM of Spark's driver has ended with code {process.returncode}")
        if time.monotonic() > give_up_at:
            process.kill()
            raise SparkUnavailableError(f"the JVM of Spark's driver has said nothing for {_START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    data = connection.read_bytes()
    port, size = struct.unpack_from(">ii", data)
    return port, data[8 : 8 + size].decode()
