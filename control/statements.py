"""Hot statements as text: SQLAlchemy 2.0 compiles an INSERT … ON CONFLICT anew each time, text once."""

from sqlalchemy import Table, TextClause, bindparam, text


def insert_if_free(table: Table, columns: str, conflict: str) -> TextClause:
    """Return an INSERT of ``columns`` (names, separated by spaces) that does nothing on ``conflict`` (SQL).

    Its ``rowcount`` tells whether the row was free.
    """
    names = columns.split()
    values = ", ".join(f":{name}" for name in names)
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT {conflict} DO NOTHING"  # noqa: S608 - constants of our own modules
    return text(statement).bindparams(*(bindparam(name, type_=table.c[name].type) for name in names))
