"""One Parquet file of a snapshot, decoded as a whole: every byte of its pages is read and checked."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.tables.arrow_types import arrow_schema
from assets.tables.schema import Schema
from contracts.storage import CorruptSnapshotError
from resources.lake.store import Lake, ObjectInfo


def decode(lake: Lake, found: ObjectInfo, rows: int, schema: Schema) -> pa.Table:
    """Return the file as a table of ``schema``. ``found`` is what the commit says of it.

    Raises CorruptSnapshotError when it is missing, has another size, other rows or other columns, or a page that does
    not decode or fits its checksum (Spark writes one for each page), and the lake's errors.
    """
    where = lake.url(found.key)
    body = lake.get(found.key)
    if body is None:
        raise CorruptSnapshotError(f"{where} is missing")
    if len(body) != found.size:
        raise CorruptSnapshotError(f"{where} has {len(body)} bytes, the commit says {found.size}")
    table = _decoded(where, body)
    if table.num_rows != rows:
        raise CorruptSnapshotError(f"{where} has {table.num_rows} rows, the commit says {rows}")
    if list(table.schema.names) != list(schema.names):
        raise CorruptSnapshotError(f"{where} has the columns {table.schema.names}, the commit says {schema.names}")
    try:
        return table.cast(arrow_schema(schema))
    except (pa.ArrowException, ValueError) as error:
        raise CorruptSnapshotError(f"{where} does not hold what the commit says: {error}") from error


def _decoded(where: str, body: bytes) -> Any:
    try:
        with pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True) as file:
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise CorruptSnapshotError(f"{where} does not decode: {error}") from error
    return table
