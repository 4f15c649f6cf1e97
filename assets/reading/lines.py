"""Files of text as rows: every line is judged as a whole, whatever an action asks for of it.

Spark's readers of CSV and JSON pass over much: a quote that is not closed, what follows an object, a field that is
there twice, bytes that are no UTF-8. Here they find the lines only; what a line is worth is asked of it by itself.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from assets.declaration import Landing
from assets.reading.nesting import nested_fits, nested_typed
from assets.reading.spelling import fits, typed
from assets.tables.schema import Column, Schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BAD_ROW = "a row does not fit the declared schema"
"""What a job says that met one."""
FILE, FITS = "the file", "it fits"
"""Columns of what was judged. No declared column has such a name."""
_LINE, _SURPLUS, _PARSED = "the line", "a line without form", "the parsed line"
# The first letter tells of nearly every line that it is not meant.
_TRIMMED = rf"(`{_LINE}` < '!' AND `{_LINE}` RLIKE r'^[\x00-\x20]+\z')"
# Whatever is escaped, so that a backslash is not taken for the beginning of what it ends; and of the halves of a pair,
# both. The plus, which gives nothing back, keeps Java from a call for each letter.
_WHOLE_PAIRS = r"^(?:[^\\]|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB]..\\u[dD][c-fC-F])*+\z"


def judged(spark: "SparkSession", source: Landing, urls: Sequence[str]) -> "DataFrame":
    """Return for each line that is not empty, in order, FILE, and FITS: whether it is a row of the declared schema.

    The header of a CSV file is its first line here.
    """
    texts, fits_all = _texts(source, _lines(spark, urls))
    return texts.selectExpr(f"input_file_name() AS `{FILE}`", f"{fits_all} AS `{FITS}`")


def fitting(spark: "SparkSession", source: Landing, urls: Sequence[str]) -> "DataFrame":
    """Return the rows in the declared types. One that does not fit fails the job, which says BAD_ROW."""
    is_json = source.format == "jsonl"
    lines = _lines(spark, urls)
    texts, fits_all = _texts(source, lines if is_json else _below_headers(spark, source.schema, urls, lines))
    columns = [f"{_value(column, is_json=is_json)} AS `{column.name}`" for column in source.schema.columns]
    # What depends on more than the row is evaluated here and nowhere else, before anything that an action asks for:
    # that could drop a bad row unseen.
    all_fit = f"if({fits_all}, monotonically_increasing_id() >= 0, raise_error('{BAD_ROW}')) AS `{FITS}`"
    return texts.selectExpr(*columns, all_fit).where(f"`{FITS}`").drop(FITS)


def _value(column: Column, *, is_json: bool) -> str:
    name, kind = f"`{column.name}`", column.type
    return typed(name, kind, is_json=is_json) if isinstance(kind, str) else nested_typed(name, kind)


def _texts(source: Landing, lines: "DataFrame") -> tuple["DataFrame", str]:
    """Return the declared columns as texts, nested ones as variants, and when a line is a row, which is never null."""
    read = _csv if source.format == "csv" else _jsonl
    texts, conditions = read(source.schema, lines)
    return texts, f"coalesce({' AND '.join([f'is_valid_utf8(`{_LINE}`)', *conditions])}, false)"


def _lines(spark: "SparkSession", urls: Sequence[str]) -> "DataFrame":
    return spark.read.text(list(urls)).where("value <> ''").selectExpr(f"value AS `{_LINE}`")


def _below_headers(spark: "SparkSession", schema: Schema, urls: Sequence[str], lines: "DataFrame") -> "DataFrame":
    # Spark's reader of CSV alone drops each file's header. Given a separator and a quote that Latin-1 lacks, it takes a
    # line, byte by byte, for one column; that is named like the header, or Spark would complain of every file.
    whole = ",".join(schema.names)
    reader = spark.read.options(header="true", encoding="ISO-8859-1", sep="\u0100", quote="\u0101", escape="\u0101")
    line = f"CAST(encode(`{whole}`, 'ISO-8859-1') AS string) AS `{_LINE}`"
    # And it drops what Java trims to nothing, as the zeros that a file broken off may end with. They are looked for in
    # the lines as they stand, which costs a second look through the files, and nearly nothing beside the first.
    return reader.schema(f"`{whole}` string").csv(list(urls)).selectExpr(line).unionAll(lines.where(_TRIMMED))


def _csv(schema: Schema, lines: "DataFrame") -> tuple["DataFrame", list[str]]:
    """Return the texts, and the conditions under which a line is a row of RFC 4180."""
    columns = ", ".join(f"`{name}` string" for name in (*schema.names, _SURPLUS))
    options = f"map('escape', '\"', 'columnNameOfCorruptRecord', '{_SURPLUS}')"
    texts = lines.selectExpr("*", _once(f"from_csv(`{_LINE}`, '{columns}', {options})"))
    values = [fits(f"`{column.name}`", str(column.type)) for column in schema.columns]  # CSV has no nested ones
    return texts, [f"NOT {_TRIMMED}", f"`{_SURPLUS}` IS NULL", _well_quoted(f"`{_LINE}`"), *values]


def _well_quoted(line: str) -> str:
    """Return the condition under which quotes stand around fields, and doubled inside of those, and nowhere else."""
    count = f"""(octet_length({line}) - octet_length(replace({line}, '"')))"""
    # What is between two quotes does not matter. A doubled quote ends one such part and begins the next.
    outside = f"""regexp_replace({line}, '"[^"]*"', '""')"""
    return f"""(NOT contains({line}, '"') OR {count} % 2 = 0 AND NOT {outside} RLIKE '[^",]"|"[^",]')"""


def _jsonl(schema: Schema, lines: "DataFrame") -> tuple["DataFrame", list[str]]:
    """Return the texts, and the conditions under which a line is one JSON object that names no field twice."""
    # Spark stops behind the first value. A list that goes on with what no delivery can know is read to its end.
    end = uuid4().hex
    parsed = f"""struct(try_parse_json(concat('[', `{_LINE}`, ',"{end}"]')) AS `{_PARSED}`)"""
    columns = [f"{_read(column)} AS `{column.name}`" for column in schema.columns]
    found = lines.where(rf"`{_LINE}` RLIKE r'[^ \t\r]'").selectExpr("*", _once(parsed))
    is_object = rf"`{_LINE}` RLIKE r'^[ \t]*[{{]' AND variant_get(`{_PARSED}`, '$[1]', 'string') = '{end}'"
    values = [
        fits(f"`{column.name}`", column.type, _variant(column))
        if isinstance(column.type, str)
        else nested_fits(f"`{column.name}`", column.type)
        for column in schema.columns
    ]
    # Half a pair of escapes is no character. Spark would make a question mark of it.
    in_pairs = rf"(NOT contains(`{_LINE}`, r'\u') OR `{_LINE}` RLIKE r'{_WHOLE_PAIRS}')"
    return found.selectExpr("*", _once(f"struct({', '.join(columns)})")), [is_object, in_pairs, *values]


def _variant(column: Column) -> str:
    return f"variant_get(`{_PARSED}`, '$[0].{column.name}')"


def _read(column: Column) -> str:
    if isinstance(column.type, str):
        return f"variant_get(`{_PARSED}`, '$[0].{column.name}', 'string')"
    return _variant(column)


def _once(struct: str) -> str:
    """Return the columns of a struct that is evaluated once for a row, however often they are used."""
    return f"inline(array({struct}))"
