"""The control plane's tables as dictionaries, and transactions: all of one counts or nothing, and they never overlap.

A row is never changed in place, so a copy of the dictionaries is a copy of the database.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.states import State
from tests.model.history import Event, Made, Moved, Restored

Row = Mapping[str, Any]


@dataclass(slots=True)
class Tables:
    """One state of the database, by primary keys."""

    processes: dict[UUID, Row] = field(default_factory=dict)
    keys: dict[tuple[str, str], Row] = field(default_factory=dict)
    outbox: dict[UUID, int] = field(default_factory=dict)
    launches: dict[tuple[UUID, int], Row] = field(default_factory=dict)
    events: dict[int, Row] = field(default_factory=dict)
    cursors: dict[int, Row] = field(default_factory=dict)
    dead_letters: dict[tuple[str, int, int], Row] = field(default_factory=dict)
    snapshots: dict[str, Row] = field(default_factory=dict)
    subscribers: dict[tuple[UUID, str], None] = field(default_factory=dict)
    deliveries: dict[UUID, Row] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """Return a state that the other does not change any more."""
        return Tables(**{table.name: dict(getattr(self, table.name)) for table in fields(Tables)})


class Rows:
    """The database. Whatever a transaction made of processes is told to ``history`` when it counts."""

    def __init__(self, history: list[Event]) -> None:
        self.now = Tables()
        self._history = history
        self._is_open = False

    @contextmanager
    def transaction(self) -> Iterator[Tables]:
        """Yield the tables; put them back when the block is left by any exception."""
        assert not self._is_open
        before, self._is_open = self.now.copy(), True
        try:
            yield self.now
        except BaseException:
            self.now = before
            raise
        finally:
            self._is_open = False
        self._tell(before)

    def restore(self, backup: Tables) -> None:
        """Become what ``backup`` is."""
        self.now = backup.copy()
        states = {process_id: State(row["state"]) for process_id, row in backup.processes.items()}
        keys = {key: row["process_id"] for key, row in backup.keys.items()}
        self._history.append(Restored(states, keys))

    def change(self, process_id: UUID, **columns: Any) -> Row:
        """Set columns of a process; returns its row."""
        row = {**self.now.processes[process_id], **columns}
        self.now.processes[process_id] = row
        return row

    def note(self, row: Row, kind: str, at: datetime, detail: Mapping[str, Any] | None = None) -> None:
        """Append an event of the process ``row``."""
        number = len(self.now.events)
        event = {"process_id": row["id"], "attempt": row["attempt"], "kind": kind, "at": at, "detail": detail or {}}
        self.now.events[number] = event

    def events_of(self, process_id: UUID, attempt: int) -> list[Row]:
        """Return the events of one attempt, in order."""
        return [
            event
            for event in self.now.events.values()
            if event["process_id"] == process_id and event["attempt"] == attempt
        ]

    def _tell(self, before: Tables) -> None:
        keys = {row["process_id"]: key for (_, key), row in self.now.keys.items()}
        for process_id, row in self.now.processes.items():
            earlier = before.processes.get(process_id)
            if earlier is None:
                self._history.append(Made(process_id, row["tenant_id"], keys.get(process_id)))
            if earlier is None or earlier["state"] != row["state"]:
                self._history.append(Moved(process_id, State(row["state"])))
