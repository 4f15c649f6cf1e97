"""The embedded stack with the code location whose runs need no Spark."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assets.profiles import load_profiles
from assets.publish import publish
from bench.kills.location import actions
from bench.stacks import BenchStack, bench_stack
from resources.control_plane import HttpControlPlane
from resources.settings import ComputeSettings

LOCATION = "bench.kills.location"
SERVERS = frozenset(
    {"postgres", "s3", "kafka", "migrations", "orphans", "code-location", "webserver", "daemon", "api", "worker"}
)
"""All; only the step ``publish`` is left out: the catalogue is that of our code location."""


@contextmanager
def light_stack(*, folder: Path | None = None, env: Mapping[str, str] | None = None) -> Iterator[BenchStack]:
    """Start it, with its one action published; stop it at the end. A ``folder`` that is given is kept."""
    with bench_stack(only=SERVERS, env=env, definitions=LOCATION, folder=folder) as bench:
        variables = {name.removeprefix("LAKEMILL_").lower(): value for name, value in bench.stack.env().items()}
        publish(HttpControlPlane(ComputeSettings.model_validate(variables)), actions(), load_profiles())
        yield bench
