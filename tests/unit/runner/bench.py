"""A workbench for the runner's tests: one process, one lake, and lakes that lose answers."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from assets.declaration import Action, action, at_least, landing, not_null, unique
from assets.reading.sources import Sources
from assets.running.runner import run_member
from assets.running.task import Published, Tools
from assets.snapshots.reader import find_snapshot
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.messages import Profile
from contracts.reasons import Reason
from contracts.reports import Event, Member
from resources.lake.folder import FileLake
from resources.lake.store import LakeError, LakeUnavailableError, ObjectInfo, PresignedPut, PutOutcome
from tests.arrow_session import ArrowFrame, ArrowSessions
from tests.control_plane import FakeControlPlane

SCHEMA = "month string, orders bigint"
RUN_ID = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"


@action(inputs={"raw": landing("csv", SCHEMA)}, output="revenue", schema=SCHEMA)
def ingest(raw: Any) -> Any:
    return raw


@action(inputs={"raw": landing("parquet", SCHEMA)}, output="revenue", schema=SCHEMA)
def ingest_parquet(raw: Any) -> Any:
    return raw


Compute = Callable[..., Any]
Step = Callable[[Callable[[], PutOutcome]], PutOutcome]


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = datetime(2024, 10, 5, 12, tzinfo=UTC)
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


class ScriptedLake:
    """A FileLake whose commits go through ``steps``, one per PUT, and whose GETs may fail ``deaf`` times.

    ``keeps`` is raised instead of deleting.
    """

    def __init__(self, inner: FileLake) -> None:
        self.inner = inner
        self.steps: list[Step] = []
        self.deaf = 0
        self.keeps: LakeError | None = None
        self.listed: list[str] = []
        self.presigned: list[int] = []

    def url(self, key: str) -> str:
        return self.inner.url(key)

    def chunks(self, key: str) -> Iterator[bytes]:
        return self.inner.chunks(key)

    def spark_url(self, key: str) -> str:
        return self.inner.spark_url(key)

    def get(self, key: str) -> bytes | None:
        if self.deaf:
            self.deaf -= 1
            raise LakeUnavailableError("no answer")
        return self.inner.get(key)

    def tail(self, key: str, size_bytes: int) -> bytes:
        return self.inner.tail(key, size_bytes)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.listed.append(prefix)
        return self.inner.list(prefix)

    def put(self, key: str, body: bytes) -> None:
        self.inner.put(key, body)

    def delete(self, keys: Iterable[str]) -> None:
        if self.keeps:
            raise self.keeps
        self.inner.delete(keys)

    def presign_commit(self, key: str, valid_seconds: int) -> PresignedPut:
        self.presigned.append(valid_seconds)
        return _ScriptedPut(self, self.inner.presign_commit(key, valid_seconds))


class _ScriptedPut:
    def __init__(self, lake: ScriptedLake, put: PresignedPut) -> None:
        self.lake, self.put = lake, put

    @property
    def expires_at(self) -> datetime:
        return self.put.expires_at

    def send(self, body: bytes) -> PutOutcome:
        if not self.lake.steps:
            return self.put.send(body)
        return self.lake.steps.pop(0)(lambda: self.put.send(body))


def stored_but_answer_lost(send: Callable[[], PutOutcome]) -> PutOutcome:
    send()
    raise LakeUnavailableError("the answer was lost")


def lost_before_the_store(_send: Callable[[], PutOutcome]) -> PutOutcome:
    raise LakeUnavailableError("the request was lost")


def expired(_send: Callable[[], PutOutcome]) -> PutOutcome:
    return PutOutcome.EXPIRED


class Bench:
    """One process whose action is ``compute`` over a published input of two rows."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.lake = ScriptedLake(FileLake(folder / "lake", clock=self.clock.seconds))
        self.landing = FileLake(folder / "landing")
        self.control = FakeControlPlane()
        self.sessions = ArrowSessions()
        self.process_id = uuid4()
        self.home = Coordinate("cust_8842", "v2024.10.05", "revenue")
        self.tools = Tools(
            self.control, self.lake, Sources(self.landing), self.sessions, 120, clock=self.clock, sleep=self.clock.sleep
        )

    def frame(self, ddl: str = SCHEMA, **columns: list[Any]) -> ArrowFrame:
        return self.sessions.session.frame(ddl, **(columns or {"month": ["2024-09", "2024-10"], "orders": [3, 4]}))

    def action(self, compute: Compute | None = None, *, checks: Iterable[Any] | None = None) -> Action:
        chosen = compute or self.frame

        def aggregate_revenue() -> Any:
            """Orders by month."""
            return chosen()

        promised = [not_null("month"), unique("month"), at_least(rows=1)] if checks is None else checks
        return action(inputs={}, output="revenue", schema=SCHEMA, checks=list(promised))(aggregate_revenue)

    def member(self, process_id: UUID | None = None, attempt: int = 1, **changes: Any) -> Member:
        facts = {
            "process_id": process_id or self.process_id,
            "attempt": attempt,
            "tenant": "acme",
            "action": "aggregate_revenue",
            "entity_id": self.home.entity_id,
            "data_version": self.home.data_version,
            "dataset": "revenue",
            "params": {},
            "inputs": {},
            "profile": Profile(),
        }
        return Member.model_validate(facts | changes)

    def run(self, declared: Action | None = None, member: Member | None = None) -> Published:
        return run_member(member or self.member(), run_id=RUN_ID, action=declared or self.action(), tools=self.tools)

    def published(self) -> Commit | None:
        found = find_snapshot(self.lake.inner, self.home)
        return found.commit if found else None

    @property
    def failure(self) -> Reason:
        """The reason of the last report, which must be ``failed``."""
        last = self.control.reports[-1]
        assert last.event is Event.FAILED
        assert last.reason is not None
        return last.reason
