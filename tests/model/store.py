"""The object store: a conditional PUT that one writer wins, judged when it begins, arriving a little later."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.reports import COMMIT_DELIVERY_SECONDS
from resources.lake.store import LakeUnavailableError, ObjectInfo, ObjectMissingError, PutOutcome
from tests.model.clock import Clock
from tests.model.history import Event, Stored
from tests.model.tasks import pause


class MemoryStore:
    """A lake in a dictionary. ``is_down`` makes it silent; ``fates`` says what becomes of the next PUTs."""

    def __init__(self, clock: Clock, history: list[Event]) -> None:
        self.objects: dict[str, bytes] = {}
        self.clock = clock
        self.is_down = False
        self.fates: list[str] = []
        """``lost``: it never arrives. ``mute``: it is stored, and the answer lost. ``slow``: it is on its way."""
        self.under_way: list[Delivery] = []
        self._history = history

    def url(self, key: str) -> str:
        return f"s3://lake/{key}"

    spark_url = url

    def get(self, key: str) -> bytes | None:
        if self.is_down:
            raise LakeUnavailableError("the lake is down")
        return self.objects.get(key)

    def tail(self, key: str, size_bytes: int) -> bytes:
        body = self.get(key)
        if body is None:
            raise ObjectMissingError(key)
        return body[-size_bytes:]

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if self.is_down:
            raise LakeUnavailableError("the lake is down")
        return iter(
            [ObjectInfo(key, len(body)) for key, body in sorted(self.objects.items()) if key.startswith(prefix)]
        )

    def put(self, key: str, body: bytes) -> None:
        if self.is_down:
            raise LakeUnavailableError("the lake is down")
        self.objects[key] = body

    def delete(self, keys: Iterable[str]) -> None:
        raise NotImplementedError("nothing is deleted here")

    def chunks(self, key: str) -> Iterator[bytes]:
        yield self.get(key) or b""

    def presign_commit(self, key: str, valid_seconds: int) -> "PresignedCommit":
        return PresignedCommit(self, key, self.clock() + timedelta(seconds=valid_seconds))

    def create(self, key: str, body: bytes) -> PutOutcome:
        """Store ``body`` unless something lies there."""
        if key in self.objects:
            return PutOutcome.EXISTS
        self.objects[key] = body
        origin = Commit.parse(body, Coordinate(*key.split("/")[:3])).provenance
        self._history.append(Stored(key, body, origin.process_id, origin.token))
        return PutOutcome.CREATED


@dataclass(slots=True)
class Delivery:
    """A PUT that has begun in time and is on its way; the sender's host hangs up after a while."""

    key: str
    body: bytes
    begun: datetime
    outcome: PutOutcome | None = None

    def arrive(self, store: MemoryStore) -> None:
        """Reach the store, if that is not too late."""
        if self.outcome is None and store.clock() <= self.begun + timedelta(seconds=COMMIT_DELIVERY_SECONDS):
            self.outcome = store.create(self.key, self.body)


@dataclass(frozen=True, slots=True)
class PresignedCommit:
    """One presigned PUT."""

    store: MemoryStore
    key: str
    expires_at: datetime

    def send(self, body: bytes) -> PutOutcome:
        pause("P1")
        fate = self.store.fates.pop(0) if self.store.fates else "heard"
        if self.store.is_down or fate == "lost":
            raise LakeUnavailableError("no answer to the commit")
        if self.store.clock() > self.expires_at:
            return PutOutcome.EXPIRED
        delivery = Delivery(self.key, body, self.store.clock())
        if fate == "slow":
            self.store.under_way.append(delivery)
            pause("on its way")
        else:
            delivery.arrive(self.store)
        if fate == "mute" or delivery.outcome is None:
            raise LakeUnavailableError("the answer was lost")
        pause("J6")
        return delivery.outcome
