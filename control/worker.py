"""The worker: it releases, calls back, reconciles, tells Dagster, expands backfills, and removes what is old.

``python -m control.worker``; as many of them as one likes.

Everything it does may be cut off at any point and done again, so after its grace it is simply ended by the kernel.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from control.accepting.existing import deliver_missed
from control.accepting.inputs import InputCheck
from control.backfills.counts import keep_counts
from control.backfills.expansion import Expander
from control.callbacks.sending import Courier, Sender
from control.loops import GRACE_SECONDS, Loop, run_loops
from control.reconciling.materializations import DeadRuns, report_lost_materializations
from control.reconciling.reconciler import Reconciler, Runs
from control.reconciling.unwanted_runs import RunEnder, end_unwanted_runs
from control.releasing.release import release_once
from control.releasing.watch import ReleaseWatch
from control.retention import AllRuns, Pruner, RunDeleter
from control.snapshots import CommitReader
from resources.callbacks.networks import parse_networks
from resources.callbacks.sender import GuardedSender
from resources.dagster.graphql import DagsterGraphQL
from resources.dagster.runs import DagsterRuns, DagsterRunsUnavailableError
from resources.database import Database
from resources.kafka.client import KafkaRelay
from resources.lake.store import S3Lake
from resources.log import Relay
from resources.settings import ControlSettings, control_settings
from resources.structured_logs import log_as_json

log = structlog.get_logger(__name__)

_POOL_SIZE = 40
_KILL_AFTER = int(GRACE_SECONDS) + 2


class WorkerRuns(Runs, DeadRuns, AllRuns, Protocol):
    """All that the worker asks of Dagster's storage."""


class Dagster(RunDeleter, RunEnder, Protocol):
    """All that the worker asks Dagster to do."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the worker works with. ``runs`` is None where Dagster's storage is not configured."""

    settings: ControlSettings
    db: Database
    relay: Relay
    lake: CommitReader
    sender: Sender
    runs: WorkerRuns | None
    dagster: Dagster


def loops_of(ports: Ports) -> tuple[Loop, ...]:
    """Return the worker's loops."""
    settings, db = ports.settings, ports.db
    courier = Courier(db, ports.sender, wait_seconds=settings.callback_interval)
    reconciler = Reconciler(db, ports.lake, ports.runs, settings)

    async def release() -> int:
        return await release_once(db, ports.relay, settings)

    watch = ReleaseWatch(db, settings.max_in_flight)

    async def reconcile() -> int:
        await watch.look()
        acted = await reconciler.reconcile() + await deliver_missed(db) + await keep_counts(db)
        log.debug("reconcile.done", acted=acted)
        return 0  # what was done needs no second look before the next interval

    async def tell_dagster() -> int:
        if ports.runs is not None:
            await report_lost_materializations(db, ports.runs, ports.dagster)
            await end_unwanted_runs(db, ports.runs, ports.dagster)
        return 0

    pruner = Pruner(db, settings, ports.runs, ports.dagster)
    expander = Expander(db, ports.lake, InputCheck(db, ports.lake), settings)

    return (
        Loop("release", release, settings.release_interval),
        Loop("callbacks", courier.step, settings.callback_interval, courier.finish),
        Loop("reconcile", reconcile, settings.reconcile_interval),
        # Apart: many runs to be ended, or a slow Dagster, must not keep the reconciler.
        Loop("dagster", tell_dagster, settings.reconcile_interval),
        Loop("backfills", expander.step, settings.release_interval),
        Loop("retention", pruner.step, settings.retention_interval),
    )


async def work(ports: Ports, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set. Raises the error that ended a loop for good."""
    settings = ports.settings
    log.info("worker.started", max_in_flight=settings.max_in_flight, topic=settings.kafka_topic)
    await run_loops(loops_of(ports), stop, settings.worker_heartbeat_file)
    log.info("worker.stopped")


@asynccontextmanager
async def real_ports(settings: ControlSettings) -> AsyncIterator[Ports]:
    """Yield the real ports; close them at the end."""
    async with AsyncExitStack() as stack:
        db = Database(settings.database_url, pool_size=_POOL_SIZE)
        stack.push_async_callback(db.close)
        relay = KafkaRelay(settings)
        stack.push_async_callback(relay.close)
        dagster = DagsterGraphQL(settings.dagster_url)
        stack.push_async_callback(dagster.close)
        runs = None
        if settings.dagster_database_url is not None:
            runs = DagsterRuns(settings.dagster_database_url, settings.dagster_ui_url)
            stack.push_async_callback(runs.close)
            await _check(runs)
        sender = GuardedSender(parse_networks(settings.callback_allow))
        lake = S3Lake(settings, settings.lake_bucket)
        yield Ports(settings, db, relay, lake, sender, runs, dagster)


async def _check(runs: DagsterRuns) -> None:
    try:
        await runs.check()
    except DagsterRunsUnavailableError:
        log.warning("worker.without_runs", consequence="lost and dead runs are not noticed until this is mended")


async def _main() -> None:
    stop = asyncio.Event()

    def end() -> None:
        # A thread that still waits for Kafka or a name server would keep a finished process alive.
        signal.alarm(_KILL_AFTER)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    async with real_ports(control_settings()) as ports:
        await work(ports, stop)


if __name__ == "__main__":
    log_as_json()
    asyncio.run(_main())
