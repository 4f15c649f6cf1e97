"""What stands in delivered text is taken as it stands, or refused: every type, and the form of a line."""

import csv
import io
import json
import random
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from assets.declaration import Format, action, landing
from assets.reading.lines import fitting, judged
from assets.tables.schema import Schema
from tests.integration.spark_mill import Mill

TYPES = {
    "b": "boolean",
    "y": "tinyint",
    "n": "bigint",
    "f": "float",
    "d": "double",
    "p": "decimal(10,2)",
    "q": "decimal(38,0)",
    "s": "string",
    "x": "binary",
    "day": "date",
    "at": "timestamp",
}
SCHEMA = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
NOON = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)

ALIKE: list[tuple[str, str, Any]] = [
    ("b", "TRUE", True),
    ("y", "-128", -128),
    ("n", "+9223372036854775807", 2**63 - 1),
    ("d", "1e-3", 0.001),
    ("d", "NaN", "nan"),
    ("d", "-Infinity", float("-inf")),
    ("f", "3.4e38", pytest.approx(3.4e38)),
    ("p", ".5", Decimal("0.50")),
    ("p", "-12345678.9000", Decimal("-12345678.90")),
    ("q", "9" * 38, Decimal("9" * 38)),
    ("s", " as it is\\t ", " as it is\\t "),
    ("day", "2024-02-29", date(2024, 2, 29)),
    ("at", "2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
    ("at", "2024-02-29 12:00", NOON),
    ("at", "2024-02-29T12:00:00.000Z", NOON),
    ("at", "2024-02-29 12:00:00+00", NOON),
    ("at", "2024-02-29T13:30:00+01:30", NOON),
    ("at", "2024-02-29T12:00:00.123456000Z", NOON.replace(microsecond=123456)),
]
"""Column, what a field holds, the value: the same in CSV and in a string of JSON."""
NEITHER: list[tuple[str, str]] = [
    *[("b", text) for text in ("yes", "1", "t")],
    *[("n", text) for text in ("soon", " 1", "1.5", "1.0", "1e3", "9223372036854775808", "0x1")],
    ("y", "128"),
    *[("d", text) for text in ("soon", "1d", "0x1p3", " 1", "1e400", "inf")],
    ("f", "1e60"),
    *[("p", text) for text in ("1.239", "123456789.00", "1e2", ".")],
    ("q", "0.5"),
    *[("day", text) for text in ("2024-02-03 garbage", "2024-02-30", "2024-2-3", "2024", "0000-01-01", "03.02.2024")],
    *[("day", text) for text in ("2024-02-03T00:00:00", "today")],
    *[("at", text) for text in ("10:00", "2024-02-03 10", "2024-02-03T10:00:00.1234567Z", "2024-02-03T24:00:00")],
    *[("at", text) for text in ("2024-02-03T10:00:00 UTC", "9999-12-31T23:59:59-01:00", "1706950800", "now")],
]
JSON_ONLY: list[tuple[str, str, Any]] = [
    ("b", "true", True),
    ("n", "7", 7),
    ("n", "1.0", 1),
    ("d", "0.1", 0.1),
    ("p", "1.50", Decimal("1.50")),
    ("q", "12345678901234567890123456789012345678", Decimal("12345678901234567890123456789012345678")),
    ("s", "7", "7"),
    ("s", "1.50", "1.5"),
    ("s", "true", "true"),
    ("s", '"{\\"a\\": 1}"', '{"a": 1}'),
    ("s", '"Infinity"', "Infinity"),
    ("x", '"YWI="', b"ab"),
    ("s", "null", None),
    ("s", r'"\ud83d\ude00\uD83D\uDE00"', "😀😀"),
    ("s", r'"\\ud800"', r"\ud800"),
    ("s", r'"\\\\ud800\u00e4\n"', "\\\\ud800ä\n"),
    ("s", r'"\u005cud800"', r"\ud800"),
    ("s", '"' + r"\u0041\n" * 100_000 + '"', "A\n" * 100_000),
]
NOT_JSON: list[str] = [
    '{"n": 1} trailing',
    '{"n": 1}] trailing',
    '{"n": 1}, {"n": 2}',
    '{"n": 1} {"n": 2}',
    '[{"n": 1}, {"n": 2}]',
    '[{"n": 1}]',
    '{"n": 1, "n": 2}',
    '{"n": 1,}',
    '{"d": NaN}',
    "{'n': 1}",
    '{"p": 1.239}',
    '{"d": 1e400}',
    '{"s": {"a": 1}}',
    '{"s": [1]}',
    '{"s": 1e400}',
    '{"n": [1]}',
    '{"n": 1.5}',
    '{"x": "*"}',
    r'{"s": "\ud800"}',
    r'{"s": "\uDC00"}',
    r'{"s": "\\\ud800"}',
    r'{"s": "\ud83d\u0041"}',
    r'{"s": "\ud83d\n\ude00"}',
    r'{"s": "\\ud83d\ude00"}',
    r'{"s": "\ud83d\ude00\ude00"}',
    r'{"else": {"\ud800": 1}}',
    "{cut",
    "null",
    "7",
    '"n"',
]
NOT_CSV: list[str] = [
    '1,"not closed',
    '1,not opened"',
    '1,"a"b',
    '1,"say "hi""',
    '1, "a"',
    '1,"a" ',
    '1,6" pipe, 7" pipe',
    '1,a,"',
    '"1,a',
    "1",
    "1,a,more",
    '1,"a\nb"',
    '1,"a ""\nb"',
]


def fit(mill: Mill, kind: Format, schema: str, file: Path, body: bytes) -> list[bool]:
    file.write_bytes(body)
    told = [row[1] for row in judged(mill.spark, landing(kind, schema), [f"file://{file}"]).collect()]
    return told[1:] if kind == "csv" else told  # its header is the first line


def values(mill: Mill, kind: Format, file: Path, cells: list[tuple[str, str, Any]], lines: bytes) -> None:
    """Each line has one cell: it comes out as it should, in its type."""
    file.write_bytes(lines)
    rows = fitting(mill.spark, landing(kind, SCHEMA), [f"file://{file}"])
    assert Schema.from_json(rows.schema.json()) == Schema.parse(SCHEMA)
    found = [row.asDict() for row in rows.selectExpr(*TYPES, "cast(at as string) as told").collect()]
    for (name, text, value), row in zip(cells, found, strict=True):
        cell = "nan" if row[name] != row[name] else row[name]
        if isinstance(value, datetime):
            cell = datetime.fromisoformat(row["told"]).replace(tzinfo=UTC)
        assert (text, cell) == (text, value)


def csv_of(*cells: tuple[str, str]) -> bytes:
    lines = [",".join(text if name == column else "" for name in TYPES) for column, text in cells]
    return "\n".join([",".join(TYPES), *lines]).encode()


def json_of(*cells: tuple[str, str]) -> bytes:
    return "\n".join(f'{{"{name}": {text}}}' for name, text in cells).encode()


def test_a_field_of_csv_has_its_value(mill: Mill, tmp_path: Path) -> None:
    cells = [*ALIKE, ("x", "ab", b"ab"), ("s", '"a, ""b"""', 'a, "b"'), ("s", "a\\b", "a\\b")]
    values(mill, "csv", tmp_path / "a.csv", cells, csv_of(*((name, text) for name, text, _ in cells)))


def test_a_field_of_json_has_its_value(mill: Mill, tmp_path: Path) -> None:
    cells = [*((name, json.dumps(text), value) for name, text, value in ALIKE), *JSON_ONLY]
    values(mill, "jsonl", tmp_path / "a.jsonl", cells, json_of(*((name, text) for name, text, _ in cells)))


def test_what_only_resembles_a_value_does_not_fit(mill: Mill, tmp_path: Path) -> None:
    told = fit(mill, "csv", SCHEMA, tmp_path / "a.csv", csv_of(*NEITHER))
    assert [cell for cell, fits in zip(NEITHER, told, strict=True) if fits] == []
    quoted = json_of(*((name, json.dumps(text)) for name, text in NEITHER))
    told = fit(mill, "jsonl", SCHEMA, tmp_path / "a.jsonl", quoted)
    assert [cell for cell, fits in zip(NEITHER, told, strict=True) if fits] == []


def test_a_line_that_is_not_one_json_object_does_not_fit(mill: Mill, tmp_path: Path) -> None:
    body = "\n".join(NOT_JSON).encode() + b'\n{"s": "\xff"}\n \t\n\n {"n": 1} \r\n'
    told = fit(mill, "jsonl", SCHEMA, tmp_path / "a.jsonl", body)
    assert [line for line, fits in zip([*NOT_JSON, "no UTF-8"], told[:-1], strict=True) if fits] == []
    assert told[-1]


@pytest.mark.parametrize("line", [line.encode() for line in NOT_CSV] + [b"1,\xff"])
def test_a_line_that_is_no_row_of_csv_does_not_fit(mill: Mill, tmp_path: Path, line: bytes) -> None:
    told = fit(mill, "csv", "n bigint, word string", tmp_path / "a.csv", b"n,word\r\n1,a\r\n" + line + b"\n2,b")
    assert (told[0], told[-1], set(told[1:-1])) == (True, True, {False})


def test_a_quoted_line_break_is_no_row_of_one_column(mill: Mill, tmp_path: Path) -> None:
    assert fit(mill, "csv", "word string", tmp_path / "a.csv", b'word\n"a\nb"\n"c"\n') == [False, False, True]


@pytest.mark.parametrize(("quoting", "ending"), [(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\n")])
def test_what_pythons_csv_writes_comes_out_as_it_was(mill: Mill, quoting: Any, ending: str) -> None:
    dice = random.Random(7)  # noqa: S311 - the same words every time
    words = ["".join(dice.choices("\",\\ aä'#\t", k=dice.randrange(1, 12))) for _ in range(500)]
    sink = io.StringIO()
    writer = csv.writer(sink, quoting=quoting, lineterminator=ending)
    writer.writerows([("n", "word"), *enumerate([*words, 'say "hi"', ",", '"', '""'])])
    mill.deliver("rows", "a.csv", sink.getvalue().encode())

    @action(inputs={"rows": landing("csv", "n bigint, word string")}, output="kept", schema="n bigint, word string")
    def kept(rows: Any) -> Any:
        return rows

    found = mill.read(mill.run(kept)).sort("n")["word"].to_list()
    assert found == [*words, 'say "hi"', ",", '"', '""']
