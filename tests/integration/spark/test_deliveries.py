"""Raw files with real Spark: every format comes out alike, and bad rows are counted and refused."""

import bz2
import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.declaration import Action, Format, action, landing
from assets.errors import ActionContractError, InputCorruptError, InputMissingError
from contracts.reasons import ReasonCode
from tests.integration.spark_mill import Mill

SCHEMA = "n bigint, word string, share double, price decimal(10,2), day date, at timestamp, good boolean"
MOMENT = datetime(2024, 10, 5, 1, 2, 3, 456789, UTC)
ROW = (2**60, 'ä "quoted"', 0.25, Decimal("1.50"), date(2024, 10, 5), MOMENT, True)
LINE = {
    "n": 2**60,
    "word": 'ä "quoted"',
    "share": 0.25,
    "price": 1.5,
    "day": "2024-10-05",
    "at": "2024-10-05T01:02:03.456789Z",
    "good": True,
}


def ingest(kind: Format, schema: str = SCHEMA, only: str = "*") -> Action:
    @action(inputs={"rows": landing(kind, schema)}, output="kept", schema=schema if only == "*" else f"{only} bigint")
    def kept(rows: Any) -> Any:
        return rows.select(only)

    return kept


def json_lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def csv_lines(*rows: str) -> bytes:
    return "".join(f"{row}\n" for row in ("n,word", *rows)).encode()


def parquet() -> bytes:
    moment, price = pa.timestamp("us", "UTC"), pa.decimal128(10, 2)
    kinds = [pa.int64(), pa.string(), pa.float64(), price, pa.date32(), moment, pa.bool_()]
    columns = [pa.array([value, None], kind) for value, kind in zip(ROW, kinds, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(LINE)), sink)
    return sink.getvalue()


CSV = (
    "n,word,share,price,day,at,good\n"
    '1152921504606846976,"ä ""quoted""",0.25,1.50,2024-10-05,2024-10-05T01:02:03.456789Z,true\n'
    ",,,,,,\n"
).encode()
JSONL = json_lines(LINE, dict.fromkeys(LINE))


@pytest.mark.parametrize(
    ("kind", "file", "body"),
    [
        ("csv", "a.csv", CSV),
        ("csv", "a.csv.gz", gzip.compress(CSV)),
        ("csv", "a.csv.bz2", bz2.compress(CSV)),
        ("csv", "a.csv.zst", pa.compress(CSV, "zstd", asbytes=True)),
        ("jsonl", "a.jsonl", json_lines(LINE, {"more": 1})),
        ("jsonl", "a.jsonl.gz", gzip.compress(JSONL)),
        ("jsonl", "a.jsonl.bz2", bz2.compress(JSONL)),
        ("jsonl", "a.jsonl.zst", pa.compress(JSONL, "zstd", asbytes=True)),
        ("parquet", "a.parquet", parquet()),
    ],
)
def test_every_format_brings_the_declared_types_and_nulls(mill: Mill, kind: Format, file: str, body: bytes) -> None:
    mill.deliver("rows", file, body)
    mill.deliver("rows", "readme.txt", b"not data")
    assert set(mill.read(mill.run(ingest(kind))).rows()) == {ROW, (None,) * len(ROW)}


SPLITS = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
GOOD = {"n": 1, "word": "a"}
WORD = {"n": "soon", "word": "a"}


@pytest.mark.parametrize(
    ("kind", "files", "told"),
    [
        (
            "csv",
            {"a.csv": csv_lines("1,a", "2,b"), "b.csv": csv_lines("1,a", "soon,b", "3,c", "x,d")},
            ("2 of 6 rows", "b.csv row 2"),
        ),
        ("csv", {"a.csv": csv_lines("1,a", "2,b,more", "3")}, ("2 of 3 rows", "a.csv row 2")),
        (
            "csv",
            {"a.csv": csv_lines("1,a", "", "2,b") + bytes(512), "b.csv": csv_lines("1,a")},
            ("1 of 4", "a.csv row 3"),
        ),
        ("jsonl", {"a.jsonl": json_lines(GOOD) + bytes(512)}, ("1 of 2 rows", "a.jsonl row 2")),
        (
            "jsonl",
            {
                "a.jsonl": json_lines(GOOD, GOOD) + b"{cut\n",
                "b.jsonl.gz": gzip.compress(json_lines(WORD, GOOD)),
            },
            ("2 of 5 rows", "a.jsonl row 3, b.jsonl.gz row 1"),
        ),
        ("jsonl", {"a.jsonl": json_lines(GOOD, {"n": 2**63}, {"n": 1.5})}, ("2 of 3 rows", "a.jsonl row 2")),
    ],
)
def test_bad_rows_are_counted_placed_and_refused(
    mill: Mill,
    kind: Format,
    files: dict[str, bytes],
    told: tuple[str, ...],
) -> None:
    for file, body in files.items():
        mill.deliver("rows", file, body)
    splits = {name: mill.spark.conf.get(name) for name in SPLITS}
    with pytest.raises(Exception, match="rows below"):
        mill.run(ingest(kind, "n bigint, word string"))
    reason = mill.control.reports[-1].reason
    assert reason is not None
    assert reason.code is ReasonCode.INPUT_CORRUPT
    for words in told:
        assert words in reason.message
    assert not [found for found in mill.lake.list(f"{mill.entity}/") if "_delta_log" in found.key]
    assert {name: mill.spark.conf.get(name) for name in SPLITS} == splits


def test_a_bad_row_far_into_a_file_has_its_number_in_that_file(mill: Mill) -> None:
    rows = 600_000
    body = b"n,word\n" + b"".join(b"%d,word %d\n" % (n, n) for n in range(rows - 1)) + b"soon,word\n"
    assert len(body) > 10 * 1024 * 1024  # several tasks read it, when Spark may choose
    mill.deliver("rows", "a.csv", body)
    with pytest.raises(InputCorruptError, match=rf"1 of {rows} rows .* a\.csv row {rows}$"):
        mill.run(ingest("csv", "n bigint, word string"))


def counted(rows: Any) -> Any:
    return rows.groupBy().count().selectExpr("count as n")


def one_column(rows: Any) -> Any:
    return rows.select("n")


def without_the_bad(rows: Any) -> Any:
    return rows.where("m > 0").select("n")


@pytest.mark.parametrize("compute", [counted, one_column, without_the_bad])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("csv", b"n,m\n1,2\n3,soon\n"),
        ("csv", b"n,m\n1,2\nsoon,\n"),
        ("jsonl", json_lines({"n": 1, "m": 2}, {"n": 3, "m": "soon"})),
        ("jsonl", json_lines({"n": 1, "m": 2}, {"n": "soon"})),
    ],
)
def test_a_row_is_bad_whatever_an_action_asks_for(mill: Mill, kind: Format, body: bytes, compute: Any) -> None:
    mill.deliver("rows", f"a.{kind}", body)
    declared = action(inputs={"rows": landing(kind, "n bigint, m bigint")}, output="kept", schema="n bigint")
    with pytest.raises(InputCorruptError, match=rf"1 of 2 rows .* a\.{kind} row 2"):
        mill.run(declared(compute))


def lengths(rows: Any) -> Any:
    return rows.selectExpr("CAST(length(word) AS bigint) AS n").where("n > 0")


@pytest.mark.parametrize("compute", [counted, lengths])
@pytest.mark.parametrize("line", [b"\x01", b"\x1f", b"\0\0", b" ", b" \t"])
def test_a_line_that_spark_drops_of_a_single_column_is_a_bad_row(mill: Mill, line: bytes, compute: Any) -> None:
    mill.deliver("rows", "a.csv", b'word\r\nx\r\n\r\n"  "\r\n' + line + b"\r\ny\r\n")
    declared = action(inputs={"rows": landing("csv", "word string")}, output="kept", schema="n bigint")
    with pytest.raises(InputCorruptError, match=r"1 of 4 rows .* a\.csv row 3"):
        mill.run(declared(compute))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"word,n\na,1\n", "the header names ['word', 'n'], the action declares ['n', 'word']"),
        (b"1,a\n2,b\n", "the header names ['1', 'a']"),
        (b"\n\n", "there is no header"),
        (b" \nn,word\n1,a\n", "the header names [' ']"),
    ],
)
def test_another_header_is_refused(mill: Mill, body: bytes, told: str) -> None:
    mill.deliver("rows", "a.csv", csv_lines("1,a"))
    mill.deliver("rows", "b.csv.gz", gzip.compress(body))
    with pytest.raises(InputCorruptError):
        mill.run(ingest("csv", "n bigint, word string"))
    code, message = mill.failure
    assert (code, told in message) == (ReasonCode.INPUT_CORRUPT, True), message


@pytest.mark.parametrize("name", ["*.csv", "{a,b}.csv"])
def test_a_name_that_spark_takes_for_something_else_is_refused(mill: Mill, name: str) -> None:
    mill.deliver("rows", "good.csv", csv_lines("1,a"))
    mill.deliver("rows", name, csv_lines("1,a"))
    with pytest.raises(InputCorruptError, match="no plain name"):
        mill.run(ingest("csv", "n bigint, word string"))


def test_files_are_registered_from_where_they_may_be_read_and_from_nowhere_else(mill: Mill) -> None:
    mill.landing.put("partner/acme/today/a.csv", csv_lines("1,a", "2,b"))
    mill.lake.put("shared/rates/a.csv", csv_lines("3,c"))
    register = ingest("csv", "n bigint, word string")
    near = mill.run(register, params={"source": "s3://landing/partner/acme/today/"})
    far = mill.run(register, data_version="v2", params={"source": "s3://lake/shared/rates/"})
    assert [sorted(mill.read(published)["n"].to_list()) for published in (near, far)] == [[1, 2], [3]]
    used = near.commit.provenance
    assert used.params == {"source": "s3://landing/partner/acme/today/"}
    assert used.inputs["rows"].path == "s3://landing/partner/acme/today"
    for source in ("s3://landing/partner/globex/today/", "s3://lake/", f"s3://landing/{mill.entity}x/"):
        with pytest.raises(InputMissingError, match="may not be read"):
            mill.run(register, data_version="v3", params={"source": source})
    with pytest.raises(ActionContractError, match="source"):
        mill.run(register, data_version="v3", params={"source": "s3://landing/partner/acme/../globex/"})
