"""As much of a SparkSession as the runner touches, over Arrow: it reads and writes real Parquet files in a folder.

For tests of the runner's branches only. What Spark itself does is tested with Spark (tests/integration).
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from assets.tables import arrow_types
from assets.tables.schema import Schema
from contracts.messages import Profile
from contracts.reasons import Reason


def path_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def arrow_schema(ddl: str) -> pa.Schema:
    return arrow_types.arrow_schema(Schema.parse(ddl))


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

    def selectExpr(self, *expressions: str) -> "_Row | Self":  # noqa: N802 - Spark's name
        # Arrow holds values to their types: what only would refuse others leaves the table as it is.
        if all(each.endswith(f"`{name}`") for each, name in zip(expressions, self.table.column_names, strict=False)):
            return self
        return _Row([self._surplus(each) for each in expressions])

    def _surplus(self, aggregate: str) -> int:
        """Answer the one aggregate that the runner's tests need: that of ``unique``."""
        counted = re.fullmatch(r"count\((.+)\) - count\(DISTINCT \1\) AS value_\d+", aggregate)
        assert counted is not None, aggregate
        columns = counted[1].replace("`", "").split(", ")
        rows = zip(*(self.table[column].to_pylist() for column in columns), strict=True)
        keys = [row for row in rows if None not in row]
        return len(keys) - len(set(keys))


class _SchemaJson:
    def __init__(self, text: str) -> None:
        self.text = text

    def json(self) -> str:
        return self.text


class _Row:
    def __init__(self, values: list[int]) -> None:
        self.values = values

    def first(self) -> list[int]:
        return self.values


class _Writer:
    def __init__(self, frame: ArrowFrame) -> None:
        self.frame = frame

    def mode(self, mode: str) -> Self:
        assert mode == "errorifexists"
        return self

    def parquet(self, url: str) -> None:
        folder = self.frame.session.place(url)
        folder.mkdir(parents=True)
        self.frame.session.write(folder, self.frame.table)


class _Reader:
    def __init__(self, session: "ArrowSession") -> None:
        self.session = session
        self.ddl = ""

    def schema(self, schema: Any) -> Self:
        self.ddl = schema if isinstance(schema, str) else str(Schema.from_json(schema.json()))
        return self

    def parquet(self, *urls: str) -> ArrowFrame:
        return ArrowFrame(self.session, pa.concat_tables(map(pq.read_table, map(self.session.fetch, urls))), self.ddl)


def magic_write(folder: Path, table: pa.Table) -> None:
    """Leave in ``folder`` what a finished job of the magic committer leaves: a file per chunk, and ``_SUCCESS``."""
    parts = [pa.Table.from_batches([chunk]) for chunk in table.to_batches()] or [table]
    files = [folder / f"part-{number:05d}-0.zstd.parquet" for number in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        pq.write_table(part, file, compression="zstd", write_page_checksum=True)
    bucket = folder.parents[3]
    marker = {
        "committer": "magic",
        "success": True,
        "filenames": [f"/{file.relative_to(bucket)}" for file in files],
        "iostatistics": {"counters": {"committer_bytes_committed": sum(file.stat().st_size for file in files)}},
    }
    (folder / "_SUCCESS").write_text(json.dumps(marker))


class ArrowSession:
    """The stand-in for a SparkSession. ``write`` replaces what a write leaves in its folder."""

    def __init__(self, write: Callable[[Path, pa.Table], None] = magic_write) -> None:
        self.write = write

    def place(self, url: str) -> Path:
        """Return the folder that a write to ``url`` makes."""
        return path_of(url)

    def fetch(self, url: str) -> Path:
        """Return the file at ``url``."""
        return path_of(url)

    @property
    def read(self) -> _Reader:
        return _Reader(self)

    def frame(self, ddl: str, **columns: list[Any]) -> ArrowFrame:
        return ArrowFrame(self, pa.table(columns, arrow_schema(ddl)), ddl)


class ArrowSessions:
    """Hands out one session; keeps the profiles that were asked for. ``error`` is raised instead when set."""

    def __init__(self, session: ArrowSession | None = None) -> None:
        self.session = session or ArrowSession()
        self.profiles: list[Profile] = []
        self.lost: list[str] = []
        self.ended: str | None = None
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

    def lost_driver(self) -> str | None:
        return self.ended

    def usage(self) -> dict[str, float]:
        return {"driver_cpu_seconds": 1.5}
