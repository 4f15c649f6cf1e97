"""The last step: one conditional PUT, allowed once, whose outcome is known for certain before anybody is told.

The order matters. The URL is signed first and only then the permit is asked for, so that the store refuses the PUT
before the permit is over, however long this process sleeps in between.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from assets.errors import AlreadyPublishedError, CommitRefusedError, RetiredError
from assets.snapshots.reader import Snapshot, find_snapshot
from assets.tables.schema import Schema
from contracts.commit import Commit, digest
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, commit_key, success_key, tombstone_key
from resources.control_plane import ControlPlaneRefusedError, PermitHeldError, VersionRetiredError
from resources.faults import crash_point
from resources.lake.store import Lake, LakeUnavailableError, PresignedPut, PutOutcome

_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Publisher:
    """Commits to one lake. ``permit_seconds``: how long a presigned commit is valid."""

    lake: Lake
    permit_seconds: int
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep

    def publish(self, commit: Commit, ask_permit: Callable[[datetime], object]) -> Snapshot:
        """Return what is published in the end: ``commit``, or that of an earlier attempt of the same process.

        ``ask_permit`` is told when the presigned commit expires (UTC).
        Raises AlreadyPublishedError, RetiredError, CommitRefusedError, the lake's errors, and what ``ask_permit``
        raises.
        """
        put = self._permitted(commit.coordinate, ask_permit)
        # After the URL was signed: whoever retires the coordinate waits for the end of what was signed before.
        refuse_retired(self.lake, commit.coordinate)
        crash_point("P1")
        published = self._settle(commit.model_copy(update={"committed_at": self.clock()}), put)
        crash_point("J6")
        return published

    def _permitted(self, coordinate: Coordinate, ask_permit: Callable[[datetime], object]) -> PresignedPut:
        # Another attempt's permit lives at most this long; twice leaves room for clocks.
        give_up = self.clock() + timedelta(seconds=2 * self.permit_seconds)
        while True:
            put = self.lake.presign_commit(commit_key(coordinate), self.permit_seconds)
            try:
                ask_permit(put.expires_at)
            except PermitHeldError as held:
                if self.clock() + timedelta(seconds=held.retry_after) > give_up:
                    raise CommitRefusedError(f"{coordinate}: another attempt keeps its permit") from held
                self.sleep(held.retry_after)
            except VersionRetiredError as refused:
                raise RetiredError(f"{coordinate}: no permit: {refused}") from refused
            except ControlPlaneRefusedError as refused:
                raise CommitRefusedError(f"{coordinate}: no permit: {refused}") from refused
            else:
                return put

    def _settle(self, commit: Commit, put: PresignedPut) -> Snapshot:
        body = commit.encode()
        give_up = self.clock() + timedelta(seconds=self.permit_seconds)
        while True:
            outcome = _send(put, body)
            if outcome is PutOutcome.CREATED:
                return Snapshot(self.lake, commit, digest(body), Schema.from_json(commit.schema_string))
            if found := self._ours(commit):
                return found
            if outcome is PutOutcome.EXPIRED:
                raise CommitRefusedError(f"{commit.coordinate}: the presigned commit was used after its time")
            if self.clock() >= give_up:
                raise LakeUnavailableError(f"{commit.coordinate}: the lake does not say whether the commit is stored")
            self.sleep(_PAUSE_SECONDS)

    def _ours(self, commit: Commit) -> Snapshot | None:
        """Return what is stored if it is of our process; None when nothing is, or nobody answers."""
        try:
            found = find_snapshot(self.lake, commit.coordinate)
        except LakeUnavailableError:
            return None
        except CorruptSnapshotError as error:
            raise AlreadyPublishedError(f"{commit.coordinate}: something else lies there: {error}") from error
        if found is not None and not _same_origin(found.commit, commit):
            raise AlreadyPublishedError(f"{commit.coordinate} was published meanwhile: see {found.url}")
        return found


def refuse_retired(lake: Lake, coordinate: Coordinate) -> None:
    """Return unless ``coordinate`` has a tombstone, whatever is in it. Raises RetiredError and the lake's errors."""
    key = tombstone_key(coordinate)
    if lake.get(key) is not None:
        raise RetiredError(f"{coordinate} was retired, for ever: see {lake.url(key)}")


def refuse_collected(lake: Lake, coordinate: Coordinate, token: str) -> None:
    """Return unless gc has begun to remove this execution's files. Raises CommitRefusedError and the lake's errors."""
    key = success_key(coordinate, token)
    if lake.get(key) is None:
        raise CommitRefusedError(f"{lake.url(key)} is gone: this run slept for so long that its files were collected")


def _same_origin(found: Commit, ours: Commit) -> bool:
    """Whether both are of one attempt, or of two attempts of one process."""
    theirs, own = found.provenance, ours.provenance
    return theirs.token == own.token or (own.process_id is not None and theirs.process_id == own.process_id)


def _send(put: PresignedPut, body: bytes) -> PutOutcome | None:
    try:
        return put.send(body)
    except LakeUnavailableError:
        return None  # stored or not: only the store knows
