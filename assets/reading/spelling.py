"""Whether a text is a value of a declared type: conditions in Spark SQL. Types are Spark's JSON names (``long``).

Casts alone forgive too much: they round, cut and trim, and take a time without a date for one of today.
"""

from assets.tables.schema import decimal_of

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.][0-9]{1,6}0*)?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_FLOATING = "[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]+)?"
_PATTERNS = {
    "boolean": "(?i:true|false)",
    **dict.fromkeys(("byte", "short", "integer", "long"), "[+-]?[0-9]+"),
    "date": _DATE,
    "timestamp": f"{_DATE}(?:[T ]{_TIME})?",
}
_FIRST_AND_LAST = {  # years 1 to 9999
    "date": ("DATE'0001-01-01'", "DATE'9999-12-31'"),
    "timestamp": ("TIMESTAMP'0001-01-01'", "TIMESTAMP'9999-12-31 23:59:59.999999'"),
}


def typed(text: str, kind: str, *, is_json: bool) -> str:
    """Return the value that the column ``text`` spells: null for many a text that is none, and for a null."""
    if kind == "binary" and is_json:
        return f"try_to_binary({text}, 'base64')"
    return f"try_cast({text} AS {kind})"


def fits(text: str, kind: str, raw: str | None = None) -> str:
    """Return the condition under which ``text`` is null or spells a value of the type, and only one.

    ``raw`` is the variant that ``text`` was taken from, when it comes from JSON.
    """
    value = typed(text, kind, is_json=raw is not None)
    conditions = [f"{value} IS NOT NULL"]
    if kind in _FIRST_AND_LAST:
        first, last = _FIRST_AND_LAST[kind]
        conditions = [f"{value} >= {first}", f"{value} <= {last}"]
    if decimal := decimal_of(kind):
        # A digit beyond the scale would be rounded; a zero may stand there.
        conditions.append(_is(text, f"[+-]?(?=[.]?[0-9])[0-9]*(?:[.][0-9]{{0,{decimal[1]}}}0*)?"))
    if kind in {"float", "double"}:
        number = f"{_is(text, _FLOATING)} AND abs({value}) < double('Infinity')"
        conditions = [f"({number} OR {text} IN ('NaN', 'Infinity', '-Infinity'))"]
    if pattern := _PATTERNS.get(kind):
        conditions.append(_is(text, pattern))
    if raw and kind in {"string", "float", "double"}:
        # Spelled out, an object, a list, and a number beyond all doubles are like strings that look so.
        conditions.append(rf"(NOT {text} RLIKE r'^([{{\[]|-?Infinity\z)' OR schema_of_variant({raw}) = 'STRING')")
    return f"({text} IS NULL OR {' AND '.join(conditions)})"


def _is(text: str, pattern: str) -> str:
    return rf"{text} RLIKE r'^(?:{pattern})\z'"
