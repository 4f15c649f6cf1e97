"""The one action of the model, and as much of Spark as its run touches: a write leaves one file and a marker."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from assets.declaration import Action, action, at_least
from assets.tables.schema import Schema
from contracts.messages import Profile
from contracts.reasons import Reason
from tests.model.store import MemoryStore
from tests.model.tasks import pause

SCHEMA = "orders bigint"


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"orders": [1, 2]}), sink)
    return sink.getvalue()


FILE = _parquet()


class MemorySession:
    """Stands in for a SparkSession and for all that comes of one: frame, writer, reader."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    @property
    def schema(self) -> Any:
        return self

    @property
    def write(self) -> Self:
        return self

    @property
    def read(self) -> "_Reader":
        return _Reader()

    def json(self) -> str:
        return Schema.parse(SCHEMA).to_json()

    def selectExpr(self, *_columns: str) -> Self:  # noqa: N802 - Spark's name
        return self

    def mode(self, _mode: str) -> Self:
        return self

    def parquet(self, url: str) -> None:
        """Leave what a finished job of the magic committer leaves."""
        pause("J2")
        folder = url.removeprefix("s3://lake/")
        name = f"{folder}part-0.parquet"
        marker = {"committer": "magic", "success": True, "filenames": [f"/{name}"]}
        self.store.put(name, FILE)
        self.store.put(f"{folder}_SUCCESS", json.dumps(marker).encode())
        pause("J5")


class _Reader:
    def schema(self, _schema: Any) -> Self:
        return self

    def parquet(self, *_urls: str) -> None:
        """Nothing reads rows: no check of the action's needs them."""


class MemorySessions:
    """See assets.running.task.Sessions."""

    def __init__(self, store: MemoryStore) -> None:
        self.session = MemorySession(store)

    def open(self, _profile: Profile) -> Any:
        return self.session

    @contextmanager
    def executors(self) -> Iterator[bool]:
        yield False

    def interruption(self) -> Reason | None:
        return None

    def lost_executors(self) -> list[str]:
        return []

    def lost_driver(self) -> str | None:
        return None

    def usage(self) -> dict[str, float]:
        return {}


@action(inputs={}, output="orders", schema=SCHEMA, checks=[at_least(rows=1)])
def count_orders() -> Any:
    """Be declared; what a run computes is ``action_over``."""
    raise NotImplementedError


def action_over(store: MemoryStore, ailment: str | None = None) -> Action:
    """Return the action as one run computes it: over ``store``, or ailing as it is told."""

    def compute() -> Any:
        match ailment:
            case "raises":
                raise ValueError("a column has the wrong name")
            case "memory":
                raise MemoryError
        return MemorySession(store)

    return replace(count_orders, function=compute)
