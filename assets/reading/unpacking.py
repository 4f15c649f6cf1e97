"""How much a delivery is once it is unpacked: a small file may be made to unpack to more than any disk holds.

Nobody's word is taken for it. What no packer could pack that small need not be looked at; the rest is unpacked once,
piece by piece, and thrown away, until the limit.
"""

import io
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from assets.errors import InputCorruptError, InputTooLargeError
from resources.lake.store import Lake, ObjectInfo

_CODECS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
# The most that one byte can stand for, by the format. Of bzip2 46 MB of one character are 46 bytes.
_MOST = {".gz": 1032, ".zst": 43_691, ".bz2": 1_000_000}
_PIECE_BYTES = 1024 * 1024


def refuse_too_large(lake: Lake, objects: Sequence[ObjectInfo], most_bytes: int) -> None:
    """Return unless ``objects`` unpack to more than ``most_bytes`` together; plain files count as they are.

    Raises InputTooLargeError, InputCorruptError for what cannot be unpacked, and the lake's errors.
    """
    if sum(found.size * _MOST.get(_ending(found), 1) for found in objects) <= most_bytes:
        return
    total = 0
    for found in objects:
        for size in _sizes(lake, found):
            total += size
            if total > most_bytes:
                raise too_large(lake, found, most_bytes)


def too_large(lake: Lake, found: ObjectInfo, most_bytes: int) -> InputTooLargeError:
    """Return the error for the file with which a delivery went beyond ``most_bytes``."""
    return InputTooLargeError(
        f"{lake.url(found.key)} ({found.size} bytes), with what was delivered before it, unpacks to more than "
        f"{most_bytes} bytes, the most that LAKEMILL_LANDING_UNPACKED_BYTES allows"
    )


def first_line(lake: Lake, found: ObjectInfo) -> bytes:
    """Return the first line, not empty, of a text file, packed or not; b"" if there is none.

    Raises InputCorruptError for what cannot be unpacked, and the lake's errors.
    """
    begin = next(_unpacked(lake, found), b"").removeprefix(BOM_UTF8)
    return next(filter(None, begin.splitlines()), b"")


def _ending(found: ObjectInfo) -> str:
    return PurePosixPath(found.key).suffix


def _sizes(lake: Lake, found: ObjectInfo) -> Iterator[int]:
    if _ending(found) in _CODECS:
        yield from map(len, _unpacked(lake, found))
    else:
        yield found.size


def _unpacked(lake: Lake, found: ObjectInfo) -> Iterator[bytes]:
    """Yield a file piece by piece, unpacked."""
    codec = _CODECS.get(_ending(found))
    if codec is None:
        yield from lake.chunks(found.key)
        return
    raw = pa.PythonFile(io.BufferedReader(_Stream(lake.chunks(found.key))), mode="r")
    try:
        with pa.CompressedInputStream(raw, codec) as stream:
            while piece := stream.read(_PIECE_BYTES):
                yield piece
    except (OSError, pa.ArrowException) as error:
        raise InputCorruptError(f"{lake.url(found.key)} cannot be unpacked as {codec}: {error}") from error


class _Stream(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
