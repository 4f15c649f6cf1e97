"""What SQL does and what the model's dictionaries do is the same: the same random story is told to both.

The model (docs/model.md) drives the program's decisions, and has its statements written a second time. Here the real
modules run on PostgreSQL beside it, and after every step the rows must be alike.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select, update

from contracts.cursor import Cursor
from contracts.identity import new_token
from contracts.intake import IntakeRequest
from contracts.problems import ProblemError
from contracts.reasons import Reason, ReasonCode
from contracts.reports import Event, Report
from contracts.states import State
from control.accepting.inputs import InputCheck
from control.log.intake import take
from control.log.tables import cursors, dead_letters
from control.outcomes import end_process
from control.reconciling.reconciler import Reconciler
from control.releasing.release import RelayUnavailableError, release_once
from control.reports import receive
from control.snapshots import coordinate_of
from control.tables import deliveries, launches, outbox, processes
from resources.dagster.runs import RunState
from resources.database import Database
from resources.settings import ControlSettings
from tests.fake_dagster import FakeRuns
from tests.integration.memory_lake import MemoryLake
from tests.integration.worker_rows import add_process, add_tenant
from tests.memory_log import MemoryLog
from tests.model.compute import Run
from tests.model.decisions import Decisions
from tests.model.deployment import Deployment
from tests.model.world import TENANTS

pytestmark = pytest.mark.anyio

STEPS = 40
OFFERED = {"demo": "0" * 64}
USUAL = {
    State.QUEUED: [Event.STARTED] * 4 + [Event.COMMITTING, Event.FAILED],
    State.RUNNING: [Event.COMMITTING] * 4 + [Event.STARTED, Event.SUCCEEDED, Event.FAILED],
}
"""What a run reports in a state; in any other state it is one that nobody waits for."""
_COLUMNS = ("state", "attempt", "log_partition", "log_offset", "run_id", "permit_token")


class Both:
    """The real modules and the model, side by side, over one lake and logs that are alike."""

    def __init__(self, db: Database, settings: ControlSettings, seed: int) -> None:
        self.db, self.chance = db, Random(seed)  # noqa: S311 - to vary, not to hide
        self.settings = settings.model_copy(update={"max_in_flight": 3})
        self.model = Deployment(Decisions())
        self.log, self.runs, self.lake = MemoryLog(), FakeRuns(), MemoryLake()
        self.log.topic_id = self.model.world.log.topic_id
        self.lake.objects = self.model.world.store.objects
        self.persisted = Cursor()
        self.seen: set[str] = set()

    async def row(self) -> Any:
        """Return one process at random, as it is in PostgreSQL; mostly one that has not ended."""
        async with self.db.transaction() as conn:
            rows = (await conn.execute(select(processes).order_by(processes.c.id))).mappings().all()
        active = [row for row in rows if not State(row["state"]).is_terminal]
        return self.chance.choice(active if active and self.chance.random() < 0.8 else rows)

    async def add(self) -> None:
        tenant, url = self.chance.choice(sorted(TENANTS)), self.chance.choice([None, "https://r.example/hook"])
        process_id = await add_process(self.db, tenant_id=tenant, callback_url=url)
        async with self.db.transaction() as conn:
            row = (await conn.execute(select(processes).where(processes.c.id == process_id))).mappings().one()
        tables = self.model.world.rows.now
        tables.processes[process_id] = dict(row)
        tables.outbox[process_id] = 1

    async def release(self) -> None:
        self.log.broken = self.model.world.log.broken = bool(self.seen) and self.chance.random() < 0.2
        with suppress(RelayUnavailableError):
            await release_once(self.db, self.log, self.settings)
        self.model.worker.release()
        self.log.broken = self.model.world.log.broken = False

    async def show(self) -> None:
        """Show what follows the cursor, and keep the new one or, as after a crash, not."""
        polled = self.log.poll(self.persisted, wait_seconds=0, max_records=3)
        request = IntakeRequest(persisted=self.persisted, actions=OFFERED, records=polled.records)
        real = await take(self.db, InputCheck(self.db, MemoryLake()), self.settings, request)
        alike = self.model.link.intake(request)
        assert [each.verdict for each in real.answers] == [each.verdict for each in alike.answers]
        for mine, theirs in zip(real.answers, alike.answers, strict=True):
            if mine.launch is not None and theirs.launch is not None and self.chance.random() < 0.7:
                run_id = f"run-{mine.launch.process_id.int}-{mine.launch.attempt}"
                self.runs.add(mine.launch.launch_id, RunState.STARTED, run_id)
                self.model.dagster.runs[theirs.launch.launch_id] = Run(
                    run_id, theirs.launch.launch_id, RunState.STARTED
                )
        if self.chance.random() < 0.7:
            self.persisted = polled.cursor

    async def report(self) -> None:
        row = await self.row()
        now = datetime.now(UTC)
        event = self.chance.choice(USUAL.get(row["state"], list(Event)[:4]))
        report = Report(
            event=event,
            at=now,
            run_id=f"run-{row['id'].int}-{self.chance.choice([row['attempt']] * 4 + [1])}",
            process_id=row["id"],
            attempt=row["attempt"],
            token=new_token(str(row["id"]), row["attempt"]) if event is Event.COMMITTING else None,
            commit_expires_at=now + timedelta(seconds=120),
            reason=Reason(code=self.chance.choice([ReasonCode.RUN_DIED, ReasonCode.CHECK_FAILED]), message="it broke"),
        )
        real: object = None
        alike: object = None
        try:
            await receive(self.db, self.lake, report, self.settings)
        except ProblemError as refusal:
            real = refusal.problem.code
        try:
            self.model.api.receive(report)
        except ProblemError as refusal:
            alike = refusal.problem.code
        assert real == alike, event

    async def commit(self) -> None:
        row = await self.row()
        if row["permit_token"] is not None and not State(row["state"]).is_terminal:
            self.lake.commit(coordinate_of(row), row["id"], row["attempt"], row["tenant_id"])

    async def reconcile(self) -> None:
        await Reconciler(self.db, self.lake, self.runs, self.settings).reconcile()
        self.model.worker.reconcile()

    async def cancel(self) -> None:
        row = await self.row()
        await end_process(self.db, self.lake, row["id"], State.CANCELLED, None, "test", settings=self.settings)
        self.model.endings.end_process(row["id"], State.CANCELLED, None)

    async def lose_a_run(self) -> None:
        for (launch_id, run_id), alike in zip(self.runs.known, self.model.dagster.runs.values(), strict=True):
            if self.chance.random() < 0.5:
                self.runs.add(launch_id, RunState.FAILURE, run_id)
                alike.status = RunState.FAILURE

    async def pass_time(self) -> None:
        """Let every permit die, and everything that waits be due."""
        past = timedelta(seconds=200)
        change = update(processes).values(not_before=func.now() - past, permit_until=processes.c.permit_until - past)
        async with self.db.transaction() as conn:
            await conn.execute(change)
        for process_id, row in self.model.world.rows.now.processes.items():
            permit = row["permit_until"] and row["permit_until"] - past
            self.model.world.rows.change(process_id, not_before=datetime.now(UTC) - past, permit_until=permit)

    async def must_be_alike(self) -> None:
        tables = self.model.world.rows.now
        async with self.db.transaction() as conn:
            rows = (await conn.execute(select(processes))).mappings().all()
            waiting = {row.process_id: row.attempt for row in await conn.execute(select(outbox))}
            launched = {(row.process_id, row.attempt): row.log_offset for row in await conn.execute(select(launches))}
            passed = {row.log_partition: row.next_offset for row in await conn.execute(select(cursors))}
            told = set((await conn.execute(select(deliveries.c.id))).scalars())
            dead = (await conn.execute(select(func.count()).select_from(dead_letters))).scalar_one()
        for row in rows:
            alike = tables.processes[row["id"]]
            self.seen.add(row["state"])
            assert {name: row[name] for name in _COLUMNS} == {name: alike[name] for name in _COLUMNS}
            for name in ("released_at", "launch_id", "finished_at", "permit_until", "ending", "reason", "artifact"):
                assert (row[name] is None) == (alike[name] is None), name
        assert waiting == tables.outbox
        assert launched == {of: row["log_offset"] for of, row in tables.launches.items()}
        assert passed == {partition: row["next_offset"] for partition, row in tables.cursors.items()}
        assert told == set(tables.deliveries)
        assert dead == len(tables.dead_letters)


@pytest.mark.parametrize("seed", range(8))
async def test_the_model_and_postgresql_tell_the_same_story(db: Database, settings: ControlSettings, seed: int) -> None:
    both = Both(db, settings, seed)
    for tenant in TENANTS.values():
        await add_tenant(db, tenant.id, **tenant.limits.model_dump(exclude_defaults=True))
    usual: list[Callable[[], Awaitable[None]]] = [both.release, both.show, both.report, both.report, both.report]
    rarer = [both.add, both.reconcile, both.reconcile, both.commit, both.cancel, both.lose_a_run, both.pass_time]
    begun = [both.add, both.add, both.release, both.show]
    for step in begun + [both.chance.choice([*usual, *usual, *rarer]) for _ in range(STEPS)]:
        both.model.world.clock.now = datetime.now(UTC)
        await step()
        await both.must_be_alike()
    assert State.QUEUED in both.seen, "the story went nowhere"
