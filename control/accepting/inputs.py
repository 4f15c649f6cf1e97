"""Do the inputs of a request exist, and how large are they? The index of snapshots knows most; the lake the rest.

Only certain absence refuses a request: when the lake does not answer in time, the process is accepted and the run
checks.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from contracts.identity import Coordinate
from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from contracts.reports import ActionEntry
from contracts.storage import CorruptSnapshotError
from contracts.tenancy import Tenant
from control.accepting.history import History
from control.rules.sizing import Evidence
from control.snapshots import CommitReader, FoundCommit, known, read_commit, record
from control.tenancy.ownership import missing_input
from control.together import together
from resources.database import Database
from resources.lake.store import LakeError

log = structlog.get_logger(__name__)

LOOKUPS_AT_ONCE = 8
LOOKUP_SECONDS = 1.0
REST_SECONDS = 10.0
"""How long the lake is left alone after it did not answer, so that submits stay fast."""


def resolve(request: ProcessRequest, action: ActionEntry) -> dict[str, Coordinate]:
    """Return where each input lies: input name → coordinate.

    Raises ProblemError (validation_failed) for an override of an input that the action does not have.
    """
    unknown = sorted(set(request.inputs) - set(action.inputs))
    if unknown:
        known_names = ", ".join(sorted(action.inputs)) or "none"
        errors = [{"field": f"inputs.{name}", "rule": f"is not an input; there are: {known_names}"} for name in unknown]
        raise ProblemError("validation_failed", f"{action.name} has no input {unknown[0]!r}", errors=errors)
    places = {name: request.inputs.get(name, request) for name in action.inputs}
    return {
        name: Coordinate(place.entity_id, place.data_version, action.inputs[name]) for name, place in places.items()
    }


class InputCheck:
    """Looks inputs up, with limits that hold for the whole API process."""

    def __init__(self, db: Database, lake: CommitReader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._lake = lake
        self._clock = clock
        self._slots = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._resting_until = 0.0
        self._history = History(db, clock=clock)

    async def evidence(
        self, tenant: Tenant, action: ActionEntry, entity_id: str, inputs: dict[str, Coordinate]
    ) -> Evidence:
        """Return what is known of a run for ``entity_id``. Raises ProblemError (missing_input) like ``require``."""
        sizes = await self.require(inputs)
        known_sizes = [size for size in sizes.values() if size is not None]
        unknown = [name for name, size in sizes.items() if size is None]
        past = await self._history.of(tenant.id, action.name, entity_id)
        return Evidence(sum(known_sizes) if known_sizes else None, unknown, action.weight, past)

    async def require(self, inputs: dict[str, Coordinate]) -> dict[str, int | None]:
        """Return the bytes of each input, None of one that nobody can tell.

        Raises ProblemError (missing_input) naming an input that is certainly absent.
        """
        if not inputs:
            return {}
        async with self._db.reading() as conn:
            rows = await known(conn, set(inputs.values()))
        for name, place in inputs.items():
            if place in rows and rows[place]["retired_at"] is not None:
                raise missing_input(name, place, "was retired")
        asked = [(name, place) for name, place in inputs.items() if place not in rows]
        found = await together(self._ask(name, place) for name, place in asked)
        fresh = [snapshot for snapshot in found if snapshot is not None]
        sizes = {name: rows[place]["artifact"]["bytes"] for name, place in inputs.items() if place in rows}
        sizes |= {name: snapshot and snapshot.artifact.bytes for (name, _), snapshot in zip(asked, found, strict=True)}
        if fresh:
            async with self._db.transaction() as conn:
                for snapshot in sorted(fresh, key=lambda snapshot: snapshot.commit.coordinate):
                    await record(conn, snapshot)
        return sizes

    async def _ask(self, name: str, place: Coordinate) -> FoundCommit | None:
        """Return the snapshot, or None when nobody can tell; raises ProblemError when there is none."""
        try:
            async with self._slots:
                if self._clock() < self._resting_until:
                    return None
                found = await asyncio.wait_for(read_commit(self._lake, place), LOOKUP_SECONDS)
        except (LakeError, TimeoutError) as error:
            self._resting_until = self._clock() + REST_SECONDS
            log.warning("inputs.unchecked", input=name, coordinate=str(place), error=type(error).__name__)
            return None
        except CorruptSnapshotError as error:
            log.warning("inputs.corrupt", input=name, coordinate=str(place), error=str(error))
            return None
        if found is None:
            raise missing_input(name, place)
        return found
