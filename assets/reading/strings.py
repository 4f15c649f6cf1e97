"""How much the strings of delivered Parquet are: one that stands in a file once may stand for millions of rows.

What could not be too much, however well it was packed, is not looked at. Of the rest the first rows of each column are
read, and with them its dictionary: were every string as long as the longest there, all together are seldom too much.
Only where they would be, all are measured, by their places in the dictionary and without unpacking them.
"""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.errors import InputCorruptError
from assets.reading.unpacking import too_large
from assets.tables.footers import Footer, string_chunks
from resources.lake.store import Lake, ObjectInfo

_READERS = 16
_GLANCE_ROWS = _UNPACKED_ROWS = 64  # each may be as long as a page
_ROWS = 1024
_PIECE_BYTES = 64 * 1024


def refuse_large_strings(lake: Lake, objects: Sequence[ObjectInfo], footers: Sequence[Footer], most_bytes: int) -> None:
    """Return unless the strings of all ``objects`` together are more than ``most_bytes``.

    Raises InputTooLargeError, InputCorruptError for pages that cannot be read, and the lake's errors.
    """
    bounds = [most for footer in footers for most in footer.strings]
    if sum(bounds) <= most_bytes:
        return
    negligible = most_bytes // (2 * len(bounds))  # all of those together are no more than half
    with ThreadPoolExecutor(_READERS, thread_name_prefix="strings") as pool:
        bounds = list(pool.map(lambda found: _glance(lake, found, negligible), objects))
    rest, total = sum(bounds), 0
    for bound, found in sorted(zip(bounds, objects, strict=True), key=lambda pair: pair[0], reverse=True):
        if total + rest <= most_bytes:
            return
        rest -= bound
        for size in _sizes(lake, found):
            total += size
            if total > most_bytes:
                raise too_large(lake, found, most_bytes)


def _glance(lake: Lake, found: ObjectInfo, negligible: int) -> int:
    """Return the most bytes that the strings of a file are, by the first rows of each column chunk that hold any."""
    total = 0
    with _opened(lake, found) as file:
        for chunk in string_chunks(file.metadata):
            if chunk.most <= negligible:
                total += chunk.most
                continue
            batches = map(_leaves, file.iter_batches(_GLANCE_ROWS, row_groups=[chunk.group], columns=[chunk.path]))
            longest = next((_longest(strings) for strings in batches if strings.null_count < len(strings)), 0)
            # A dictionary that has grown too large is followed by strings that stand there one by one.
            total += chunk.values * longest + chunk.told
    return total


def _sizes(lake: Lake, found: ObjectInfo) -> Iterator[int]:
    """Yield the bytes of a file's strings, a part at a time."""
    with _opened(lake, found) as file:
        unpacked = _without_dictionary(file.metadata)
        for path in dict.fromkeys(chunk.path for chunk in string_chunks(file.metadata)):
            rows = _UNPACKED_ROWS if path in unpacked else _ROWS
            yield from (_size(_leaves(batch)) for batch in file.iter_batches(rows, columns=[path]))


@contextmanager
def _opened(lake: Lake, found: ObjectInfo) -> Iterator[Any]:
    def opened(packed: Sequence[str]) -> Any:
        raw = pa.PythonFile(io.BufferedReader(_File(lake, found), _PIECE_BYTES), mode="r")
        return pq.ParquetFile(raw, read_dictionary=packed, buffer_size=_PIECE_BYTES, pre_buffer=False)

    try:
        metadata = opened([]).metadata
        paths = {chunk.path for chunk in string_chunks(metadata)}
        yield opened(sorted(paths - _without_dictionary(metadata)))
    except (OSError, pa.ArrowException) as error:
        raise InputCorruptError(f"{lake.url(found.key)} cannot be unpacked as Parquet: {error}") from error


def _without_dictionary(metadata: Any) -> set[str]:
    """Return the columns that Arrow cannot read as places in a dictionary."""
    chunks = string_chunks(metadata)
    return {chunk.path for chunk in chunks if any(name.startswith("DELTA") for name in chunk.encodings)}


def _leaves(batch: pa.RecordBatch) -> Any:
    """Return the strings of the only column, however deep they lie."""
    found: Any = batch.column(0)
    while pa.types.is_nested(found.type):
        found = found.field(0) if pa.types.is_struct(found.type) else found.flatten()
    return found


def _longest(strings: Any) -> int:
    if isinstance(strings, pa.DictionaryArray):
        return pc.max(pc.binary_length(strings.dictionary)).as_py() or 0
    return int(strings.nbytes)


def _size(strings: Any) -> int:
    if isinstance(strings, pa.DictionaryArray):
        return pc.sum(pc.take(pc.binary_length(strings.dictionary), strings.indices)).as_py() or 0
    return int(strings.nbytes)


class _File(io.RawIOBase):
    """An object as a file: what is read without a leap comes by one request."""

    def __init__(self, lake: Lake, found: ObjectInfo) -> None:
        self._lake, self._found = lake, found
        self._at = 0
        self._chunks: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._found.size}[whence]
        if place != self._at:
            self._at, self._chunks, self._rest = place, None, memoryview(b"")
        return place

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        if self._at >= self._found.size:
            return 0
        self._chunks = self._chunks or self._lake.chunks(self._found.key, self._at)
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        self._at += size
        return size
