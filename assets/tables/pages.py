"""Which columns of a Parquet file have pages without a checksum: Arrow verifies those that are there, and is silent.

The header before each page is a struct in Thrift's compact protocol (parquet.thrift, ``PageHeader``).
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

_COMPRESSED_SIZE, _CRC = 3, 4  # fields of the header, by their numbers


def columns_without_checksum(body: bytes) -> list[str]:
    """Return the columns, leaves of nested ones by their path, of which a page has no checksum.

    ``body`` is a whole file that Arrow has decoded. Raises ValueError or IndexError for headers that are none.
    """
    metadata = pq.read_metadata(pa.BufferReader(body))
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(metadata.num_columns)]
    found = (chunk.path_in_schema for chunk in chunks if not all(_CRC in header for header in _headers(body, chunk)))
    return list(dict.fromkeys(found))


def _headers(body: bytes, chunk: pq.ColumnChunkMetaData) -> Iterator[dict[int, int]]:
    place = chunk.dictionary_page_offset or chunk.data_page_offset
    end = place + chunk.total_compressed_size
    while place < end:
        header, place = _struct(body, place)
        place += header[_COMPRESSED_SIZE]
        yield header


def _struct(body: bytes, place: int) -> tuple[dict[int, int], int]:
    """Return the whole numbers of the struct at ``place`` by their fields' numbers, and where it ends."""
    numbers: dict[int, int] = {}
    field = 0
    while head := body[place]:
        step, kind = head >> 4, head & 0b1111
        place += 1
        if step:
            field += step
        else:
            field, place = _signed(body, place)
        match kind:
            case 1 | 2:  # true and false have no bytes of their own
                pass
            case 4 | 5 | 6:
                numbers[field], place = _signed(body, place)
            case 8:  # bytes
                length, place = _unsigned(body, place)
                place += length
            case 12:
                _, place = _struct(body, place)
            case _:
                raise ValueError(f"no page's header has a field of type {kind}")
    return numbers, place + 1


def _signed(body: bytes, place: int) -> tuple[int, int]:
    number, place = _unsigned(body, place)
    return number >> 1 ^ -(number & 1), place


def _unsigned(body: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (body[place] & 0x7F) << shift
        if body[place] < 0x80:
            return number, place + 1
        place, shift = place + 1, shift + 7
