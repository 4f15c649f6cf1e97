"""A stack of its own for every bench, so that nothing else is measured and nothing is left behind."""

import asyncio
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.demo.command import credentials
from deploy.local.ports import find_base_port
from deploy.local.site import ROOT
from deploy.local.stack import Stack
from resources.settings import ControlSettings

CONTROL_PLANE = frozenset({"postgres", "s3", "kafka", "migrations", "api", "worker", "publish"})
"""Everything but Dagster: requests are accepted and released, and nothing is computed."""


@dataclass(frozen=True, slots=True)
class BenchStack:
    """A running stack, a key for its API, and the secret that signs its callbacks."""

    stack: Stack
    settings: ControlSettings
    key: str
    webhook_secret: str


@contextmanager
def bench_stack(*, only: Collection[str] | None = None, env: Mapping[str, str] | None = None) -> Iterator[BenchStack]:
    """Start servers in a temporary folder on free ports; stop them and remove everything at the end."""
    with tempfile.TemporaryDirectory(prefix="lakemill-bench-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder), find_base_port(), jars_dir=ROOT / ".lakemill" / "jars", extra_env=env)
        stack.start(only=only)
        try:
            settings = ControlSettings.model_validate(
                {name.removeprefix("LAKEMILL_").lower(): value for name, value in stack.env().items()}
            )
            key, secret = asyncio.run(credentials(settings))
            yield BenchStack(stack, settings, key, secret)
        finally:
            stack.stop()
