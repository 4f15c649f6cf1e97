"""How PostgreSQL carries out the statements that some code sends: each is explained after the code has run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from resources.database import Database

_EXECUTION = re.compile(r"Execution Time: ([0-9.]+) ms")
_READING = ("SELECT", "WITH", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class Sent:
    """One statement as the driver got it."""

    statement: str
    parameters: Any


@contextmanager
def sent_statements() -> Iterator[list[Sent]]:
    """Fill a list with what this process sends to any database during the block."""
    found: list[Sent] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        found.append(Sent(statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def explain(db: Database, sent: Sent) -> str | None:
    """Return the plan with what it met, None for a statement that has none worth showing. Nothing is changed."""
    is_lock = "advisory" in sent.statement  # which the explained statement would take, and keep
    if is_lock or not sent.statement.lstrip().startswith(_READING) or isinstance(sent.parameters, list):
        return None
    async with db.transaction() as conn:
        options = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY ON)"
        rows = await conn.exec_driver_sql(f"{options} {sent.statement}", sent.parameters)
        plan = "\n".join(str(row[0]) for row in rows)
        await conn.rollback()
    return plan


def execution_ms(plan: str) -> float:
    """Return the time that PostgreSQL itself took for the statements of some plans."""
    return sum(float(found) for found in _EXECUTION.findall(plan))
