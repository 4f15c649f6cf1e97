"""What Spark passes on and no snapshot may hold: other readers refuse it. Found in Spark SQL, while a row goes by.

Spark believes that a string is UTF-8, that a stored number has no more digits than its decimal, and that the keys of a
map differ, whoever wrote them; and a cast makes a string of any bytes, and one key of two.
"""

from collections.abc import Iterable, Iterator

from assets.tables.schema import Array, Column, Map, Schema, Type, decimal_of

_Flaw = tuple[str, str]
"""What is wrong, in words, and the condition that is true where it is, and false or null elsewhere."""


def sound(column: Column, complaint: str, *, decimals: bool) -> str:
    """Return the column: a value that no snapshot may hold fails the job, which says ``complaint`` and what it is.

    ``decimals``: look for too many digits too. A column that cannot have a flaw is taken as it is, and costs nothing.
    """
    name = f"`{column.name}`"
    found = flaws(column, decimals=decimals)
    cases = " ".join(f"WHEN {condition} THEN raise_error('{complaint}: column {told}')" for told, condition in found)
    return f"CASE {cases} ELSE {name} END AS {name}" if cases else name


def flaws(column: Column, *, decimals: bool) -> Iterator[_Flaw]:
    """Yield what may be wrong with the values of a column, ``decimals`` too or not."""
    return _flaws(f"`{column.name}`", column.type, (column.name,), decimals)


def _flaws(value: str, kind: Type, path: tuple[str, ...], decimals: bool) -> Iterator[_Flaw]:
    where, each = ".".join(path), f"x{len(path)}"  # of a lambda in a lambda
    match kind:
        case Schema(columns):
            for field in columns:
                yield from _flaws(f"{value}.`{field.name}`", field.type, (*path, field.name), decimals)
        case Array(element):
            yield from _any(value, each, _flaws(each, element, (*path, "element"), decimals))
        case Map(key, of):
            keys, values = f"map_keys({value})", f"map_values({value})"
            yield f"{where} holds a map with a key twice", f"size(array_distinct({keys})) < size({keys})"
            yield from _any(keys, each, _flaws(each, key, (*path, "key"), decimals))
            yield from _any(values, each, _flaws(each, of, (*path, "value"), decimals))
        case "string":
            yield f"{where} holds text that is not UTF-8", f"NOT is_valid_utf8({value})"
        case str() if decimals and (decimal := decimal_of(kind)):
            precision, scale = decimal
            largest = f"{'9' * (precision - scale) or '0'}.{'9' * scale}".rstrip(".")
            # Against the largest of the type itself: of a cast of the value, Spark knows what the type can hold.
            least, most = (f"CAST('{sign}{largest}' AS {kind})" for sign in ("-", ""))
            yield f"{where} holds more digits than {kind}", f"({value} < {least} OR {value} > {most})"


def _any(values: str, each: str, found: Iterable[_Flaw]) -> Iterator[_Flaw]:
    return ((told, f"exists({values}, {each} -> {condition})") for told, condition in found)
