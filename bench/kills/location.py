"""A code location whose runs need no Spark: the product's own, with one action and one resource put in its place.

A Spark session costs eight CPU seconds, which is more than all else that a run does. Sensor, jobs, run queue, launcher
and the runner (gate, inputs, audit, permit, conditional PUT, report) are the product's. Only the resource ``spark`` is
replaced: Arrow reads the delivered rows and leaves in the lake what Spark's magic committer would.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from dagster import resource

from assets.profiles import load_images, load_profiles
from assets.registry import Registry, discover
from orchestration.definitions import build
from resources.dagster.resources import RESOURCES
from resources.lake.store import Lake, ObjectMissingError, S3Lake
from resources.settings import compute_settings
from tests.arrow_session import ArrowSession, ArrowSessions, magic_write


def actions() -> Registry:
    """Return the one action that this code location offers."""
    return discover("bench.kills.actions", load_profiles(), load_images())


class LakeSession(ArrowSession):
    """An Arrow session over buckets: each object is copied to a scratch folder, read and written there."""

    def __init__(self, buckets: Mapping[str, Lake], scratch: Path) -> None:
        super().__init__(self._write)
        self._buckets = buckets
        self._scratch = scratch

    def place(self, url: str) -> Path:
        """Return the scratch folder of ``url``."""
        parts = urlsplit(url)
        return self._scratch / parts.netloc / parts.path.strip("/")

    def fetch(self, url: str) -> Path:
        """Return a copy of the object at ``url``. Raises ObjectMissingError and the lake's errors."""
        copy = self.place(url)
        lake, key = self._address(copy)
        body = lake.get(key)
        if body is None:
            raise ObjectMissingError(f"{url} does not exist")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(body)
        return copy

    def _write(self, folder: Path, table: pa.Table) -> None:
        magic_write(folder, table)
        for file in sorted(folder.iterdir(), key=lambda each: each.suffix != ".parquet"):  # _SUCCESS last, as Spark
            lake, key = self._address(file)
            lake.put(key, file.read_bytes())

    def _address(self, copy: Path) -> tuple[Lake, str]:
        bucket, _, key = copy.relative_to(self._scratch).as_posix().partition("/")
        return self._buckets[bucket], key


@resource(description="In the place of Spark: Arrow, over the same buckets.")
def arrow() -> Iterator[ArrowSessions]:
    """Yield the sessions of one run."""
    settings = compute_settings()
    buckets = {name: S3Lake(settings, name) for name in (settings.lake_bucket, settings.landing_bucket)}
    with tempfile.TemporaryDirectory(prefix="lakemill-arrow-") as scratch:
        yield ArrowSessions(LakeSession(buckets, Path(scratch)))


defs = build(actions(), {**RESOURCES, "spark": arrow}, load_profiles(), load_images())
