"""The header line of delivered CSV files: it must name the declared columns, in their order."""

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from assets.errors import InputCorruptError
from assets.reading.unpacking import first_line
from resources.lake.store import Lake, ObjectInfo

_READERS = 16


def refuse_foreign_headers(lake: Lake, objects: Sequence[ObjectInfo], names: Sequence[str]) -> None:
    """Return unless a file begins with other names than ``names``, in upper or lower case; an empty file has none.

    Raises InputCorruptError, also for what cannot be unpacked, and the lake's errors.
    """
    with ThreadPoolExecutor(_READERS, thread_name_prefix="headers") as pool:
        for found, line in zip(objects, pool.map(lambda found: first_line(lake, found), objects), strict=True):
            if (header := _names(line)) != list(names):
                told = f"the header names {header}, the action declares {list(names)}" if line else "there is no header"
                raise InputCorruptError(f"{lake.url(found.key)}: {told}"[:1000])


def _names(line: bytes) -> list[str]:
    text = line.decode("utf-8", errors="replace")
    try:
        return [name.lower() for name in next(csv.reader([text], strict=True))]
    except (csv.Error, StopIteration):
        return [text]
