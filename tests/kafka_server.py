"""A Kafka of the tests' own: the embedded stack's node, alone, in a folder and on ports of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.jars.java import find_java
from deploy.jars.retrieve import ensure_jars
from deploy.local.environment import java_home
from deploy.local.ports import find_base_port
from deploy.local.site import ROOT
from deploy.local.stack import Stack

JARS = ROOT / ".lakemill" / "jars"
"""Where 'lakemill setup' puts them; fetched once when a test is the first to need them."""


@contextmanager
def kafka() -> Iterator[str]:
    """Yield ``host:port`` of a running broker with the relay's topic; stop it and remove its files at the end."""
    ensure_jars(JARS, find_java(java_home()))
    folder = Path(tempfile.mkdtemp(prefix="lakemill-kafka-"))
    stack = Stack(folder, find_base_port(), jars_dir=JARS)
    stack.start(only=("kafka",))
    try:
        yield stack.ports.address("kafka")
    finally:
        stack.stop()
        shutil.rmtree(folder)
