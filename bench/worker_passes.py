"""One pass of each loop of the worker, as ``control/worker.py`` makes them, without Kafka and Dagster."""

from collections.abc import Awaitable, Callable, Sequence

from contracts.intake import LogPosition
from control.accepting.existing import deliver_missed
from control.accepting.inputs import InputCheck
from control.backfills.counts import keep_counts
from control.backfills.expansion import Expander
from control.callbacks.sending import Courier
from control.reconciling.reconciler import Reconciler
from control.releasing.release import release_once
from control.retention import Pruner
from resources.callbacks.sender import GuardedSender
from resources.dagster.graphql import DagsterGraphQL
from resources.database import Database
from resources.lake.store import S3Lake
from resources.log import OutgoingRecord
from resources.settings import ControlSettings


class _NoRelay:
    """Nothing waits for its release, so nothing is published."""

    async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        raise RuntimeError(f"{len(records)} processes wait, and none should")

    async def close(self) -> None:
        return


def worker_passes(db: Database, settings: ControlSettings) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return name → one pass. Their clients are made once, as in a worker."""
    lake = S3Lake(settings, settings.lake_bucket)
    reconciler, relay = Reconciler(db, lake, None, settings), _NoRelay()
    expander = Expander(db, lake, InputCheck(db, lake), settings)
    courier = Courier(db, GuardedSender())
    pruner = Pruner(db, settings, None, DagsterGraphQL(settings.dagster_url))

    async def reconcile() -> None:
        await reconciler.reconcile()
        await deliver_missed(db)
        await keep_counts(db)

    return {
        "reconciler_pass": reconcile,
        "release_pass": lambda: release_once(db, relay, settings),
        "callbacks_pass": courier.step,
        "backfills_pass": expander.step,
        "retention_pass": pruner.step,
    }
