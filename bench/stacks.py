"""A stack of its own for every bench, so that nothing else is measured and nothing is left behind."""

import asyncio
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.demo.command import credentials
from deploy.local.ports import find_base_port
from deploy.local.site import DEFINITIONS, ROOT
from deploy.local.stack import Stack
from resources.settings import ControlSettings, LakeSettings

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
def bench_stack(
    *,
    only: Collection[str] | None = None,
    env: Mapping[str, str] | None = None,
    definitions: str = DEFINITIONS,
    folder: Path | None = None,
) -> Iterator[BenchStack]:
    """Start servers on free ports and stop them at the end; in a temporary folder that goes, or in ``folder``.

    The code location serves the module ``definitions``.
    """
    with _started(only, env, definitions, folder) as stack:
        settings = ControlSettings.model_validate(_named(stack))
        key, secret = asyncio.run(credentials(settings))
        yield BenchStack(stack, settings, key, secret)


@contextmanager
def bench_store() -> Iterator[LakeSettings]:
    """Start the object store alone, on free ports and in a temporary folder; yield the settings that lead to it."""
    with _started({"s3"}) as stack:
        yield LakeSettings.model_validate(_named(stack))


@contextmanager
def _started(
    only: Collection[str] | None,
    env: Mapping[str, str] | None = None,
    definitions: str = DEFINITIONS,
    folder: Path | None = None,
) -> Iterator[Stack]:
    with ExitStack() as ending:
        state_dir = folder or Path(
            ending.enter_context(tempfile.TemporaryDirectory(prefix="lakemill-bench-", ignore_cleanup_errors=True))
        )
        jars = ROOT / ".lakemill" / "jars"
        stack = Stack(state_dir, find_base_port(), jars_dir=jars, extra_env=env, definitions=definitions)
        stack.start(only=only)
        try:
            yield stack
        finally:
            stack.stop()


def _named(stack: Stack) -> dict[str, str]:
    """Return the stack's settings by the names of their fields."""
    return {name.removeprefix("LAKEMILL_").lower(): value for name, value in stack.env().items()}
