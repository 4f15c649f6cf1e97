"""The last step: one conditional PUT, allowed once, whose outcome is known for certain before anybody is told.

The order matters. The URL is signed first and only then the permit is asked for, so that the store refuses the PUT
before the permit is over, however long this process sleeps in between.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from assets.errors import AlreadyPublishedError, CommitRefusedError
from assets.snapshots import find_snapshot
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, commit_key
from resources.control_plane import PermitHeldError
from resources.faults import crash_point
from resources.lake import Lake, LakeUnavailableError, PresignedPut, PutOutcome

_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Publisher:
    """Commits to one lake. ``permit_seconds``: how long a presigned commit is valid."""

    lake: Lake
    permit_seconds: int
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep

    def publish(self, commit: Commit, ask_permit: Callable[[], object]) -> None:
        """Return when ``commit`` is stored and is ours.

        Raises AlreadyPublishedError, CommitRefusedError, the lake's errors, and what ``ask_permit`` raises.
        """
        put = self._permitted(commit.coordinate, ask_permit)
        crash_point("P1")
        self._settle(commit, put)
        crash_point("J6")

    def _permitted(self, coordinate: Coordinate, ask_permit: Callable[[], object]) -> PresignedPut:
        # Another attempt's permit lives at most this long; twice leaves room for clocks.
        give_up = self.clock() + timedelta(seconds=2 * self.permit_seconds)
        while True:
            put = self.lake.presign_commit(commit_key(coordinate), self.permit_seconds)
            try:
                ask_permit()
            except PermitHeldError as held:
                if self.clock() + timedelta(seconds=held.retry_after) > give_up:
                    raise CommitRefusedError(f"{coordinate}: another attempt keeps its permit") from held
                self.sleep(held.retry_after)
            else:
                return put

    def _settle(self, commit: Commit, put: PresignedPut) -> None:
        body = commit.encode()
        give_up = self.clock() + timedelta(seconds=self.permit_seconds)
        while True:
            outcome = _send(put, body)
            if outcome is PutOutcome.CREATED or self._is_ours(commit):
                return
            if outcome is PutOutcome.EXPIRED:
                raise CommitRefusedError(f"{commit.coordinate}: the presigned commit was used after its time")
            if self.clock() >= give_up:
                raise LakeUnavailableError(f"{commit.coordinate}: the lake does not say whether the commit is stored")
            self.sleep(_PAUSE_SECONDS)

    def _is_ours(self, commit: Commit) -> bool:
        """Whether our commit is stored; False also when nothing is, or nobody answers."""
        try:
            found = find_snapshot(self.lake, commit.coordinate)
        except LakeUnavailableError:
            return False
        except CorruptSnapshotError as error:
            raise AlreadyPublishedError(f"{commit.coordinate}: something else lies there: {error}") from error
        if found is None:
            return False
        if found.commit.provenance.token != commit.provenance.token:
            raise AlreadyPublishedError(f"{commit.coordinate} was published meanwhile: see {found.url}")
        return True


def _send(put: PresignedPut, body: bytes) -> PutOutcome | None:
    try:
        return put.send(body)
    except LakeUnavailableError:
        return None  # stored or not: only the store knows
