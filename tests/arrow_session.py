"""As much of a SparkSession as the runner touches, over Arrow: it reads and writes real Parquet files in a folder.

For tests of the runner's branches only. What Spark itself does is tested with Spark (tests/integration).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from assets.schema import Schema
from contracts.messages import Profile
from contracts.reasons import Reason

_ARROW = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


def path_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def arrow_schema(ddl: str) -> pa.Schema:
    return pa.schema([(column.name, _ARROW[column.type]) for column in Schema.parse(ddl).columns])


class ArrowFrame:
    """A table that answers like a DataFrame where the runner asks."""

    def __init__(self, session: "ArrowSession", table: pa.Table, ddl: str) -> None:
        self.session = session
        self.table = table
        self.ddl = ddl

    @property
    def schema(self) -> Any:
        return _SchemaJson(Schema.parse(self.ddl).to_json())

    @property
    def write(self) -> "_Writer":
        return _Writer(self)

    def groupBy(self, *columns: str) -> "_Groups":  # noqa: N802 - Spark's name
        return _Groups(self.table, columns)


class _SchemaJson:
    def __init__(self, text: str) -> None:
        self.text = text

    def json(self) -> str:
        return self.text


class _Groups:
    """``groupBy(…).count().selectExpr(sum of count - 1).first()``."""

    def __init__(self, table: pa.Table, columns: tuple[str, ...]) -> None:
        keys = list(zip(*(table[column].to_pylist() for column in columns), strict=True))
        self.surplus = len(keys) - len(set(keys))

    def count(self) -> Self:
        return self

    def selectExpr(self, _expression: str) -> Self:  # noqa: N802 - Spark's name
        return self

    def first(self) -> dict[str, int]:
        return {"surplus": self.surplus}


class _Writer:
    def __init__(self, frame: ArrowFrame) -> None:
        self.frame = frame

    def mode(self, mode: str) -> Self:
        assert mode == "errorifexists"
        return self

    def parquet(self, url: str) -> None:
        folder = path_of(url)
        folder.mkdir(parents=True)
        self.frame.session.write(folder, self.frame.table)


class _Reader:
    def __init__(self, session: "ArrowSession") -> None:
        self.session = session
        self.ddl = ""

    def schema(self, schema: Any) -> Self:
        self.ddl = schema if isinstance(schema, str) else str(Schema.from_json(schema.json()))
        return self

    def options(self, **options: str) -> Self:
        self.session.options.append(options)
        return self

    def parquet(self, *urls: str) -> ArrowFrame:
        return ArrowFrame(self.session, pa.concat_tables(pq.read_table(path_of(url)) for url in urls), self.ddl)

    def csv(self, urls: list[str]) -> ArrowFrame:
        tables = [pyarrow.csv.read_csv(path_of(url)) for url in urls]
        return ArrowFrame(self.session, pa.concat_tables(tables).cast(arrow_schema(self.ddl)), self.ddl)


def magic_write(folder: Path, table: pa.Table) -> None:
    """Leave in ``folder`` what a finished job of the magic committer leaves: one data file and ``_SUCCESS``."""
    file = folder / "part-00000-0.zstd.parquet"
    pq.write_table(table, file, compression="zstd")
    bucket = folder.parents[3]
    marker = {
        "committer": "magic",
        "success": True,
        "filenames": [f"/{file.relative_to(bucket)}"],
        "iostatistics": {"counters": {"committer_bytes_committed": file.stat().st_size}},
    }
    (folder / "_SUCCESS").write_text(json.dumps(marker))


class ArrowSession:
    """The stand-in for a SparkSession. ``write`` replaces what a write leaves in its folder."""

    def __init__(self, write: Callable[[Path, pa.Table], None] = magic_write) -> None:
        self.write = write
        self.options: list[dict[str, str]] = []

    @property
    def read(self) -> _Reader:
        return _Reader(self)

    def frame(self, ddl: str, **columns: list[Any]) -> ArrowFrame:
        return ArrowFrame(self, pa.table(columns, arrow_schema(ddl)), ddl)


class ArrowSessions:
    """Hands out one session; keeps the profiles that were asked for. ``error`` is raised instead when set."""

    def __init__(self) -> None:
        self.session = ArrowSession()
        self.profiles: list[Profile] = []
        self.lost: list[str] = []
        self.interrupted_by: Reason | None = None
        self.error: Exception | None = None

    @contextmanager
    def executors(self) -> Iterator[bool]:
        yield True

    def lost_executors(self) -> list[str]:
        return self.lost

    def interruption(self) -> Reason | None:
        return self.interrupted_by

    def open(self, profile: Profile) -> Any:
        self.profiles.append(profile)
        if self.error:
            raise self.error
        return self.session

    def usage(self) -> dict[str, float]:
        return {"driver_cpu_seconds": 1.5}
