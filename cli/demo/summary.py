"""What the demo proves and prints at its end: states, places, a table read by a foreign reader, seconds per stage."""

from collections import defaultdict
from statistics import median

import polars
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from assets.snapshots.verify import verify
from cli.client import ApiClient
from cli.demo.pipeline import Step
from contracts.identity import Coordinate
from contracts.states import State
from contracts.storage import dataset_prefix
from resources.lake.store import Lake
from resources.settings import LakeSettings

SHOWN_ROWS = 6


def print_snapshots(console: Console, steps: list[Step], lake: Lake) -> bool:
    """Print where each snapshot lies and whether it verifies; return whether everything is as it must be."""
    caption = "callback: its signature was verified; verifies: every file has the size and rows its commit names"
    table = Table(title="Snapshots", caption=caption, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("snapshot", "state", "rows", "callback", "verifies"):
        table.add_column(column, justify="right" if column == "rows" else "left", no_wrap=column == "snapshot")
    good = True
    for step in steps:
        report = verify(lake, step.target)
        is_published = step.state in {State.SUCCEEDED.value, "published before"}
        good = good and is_published and report.ok
        table.add_row(
            lake.url(dataset_prefix(step.target)).rstrip("/"),
            step.state,
            f"{report.rows:,}",
            "yes" if step.callback else "none",
            "yes" if report.ok else "; ".join(report.problems),
        )
    console.print(table)
    for step in steps:
        if step.problem:
            console.print(f"{step.target}: {step.problem}")
    return good


def read_by_foreigner(settings: LakeSettings, coordinate: Coordinate) -> polars.DataFrame:
    """Return a snapshot as Polars reads it from S3, knowing nothing of Lakemill."""
    secret = settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else ""
    options = {
        "aws_endpoint_url": settings.s3_endpoint or "",
        "aws_access_key_id": settings.s3_access_key or "",
        "aws_secret_access_key": secret,
        "aws_region": settings.s3_region,
        "aws_allow_http": "true",
    }
    folder = f"s3://{settings.lake_bucket}/{dataset_prefix(coordinate)}"
    return polars.read_delta(folder, storage_options={name: value for name, value in options.items() if value})


def print_rows(console: Console, frame: polars.DataFrame, title: str) -> None:
    """Print the first rows of a result."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in frame.columns:
        table.add_column(column)
    for row in frame.head(SHOWN_ROWS).iter_rows():
        table.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)


def print_stages(console: Console, client: ApiClient, steps: list[Step]) -> None:
    """Print the median and the largest seconds that this demo's processes spent until each stage."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for step in steps:
        if step.process_id:
            for entry in client.process(step.process_id)["timeline"]:
                seconds[entry["stage"]].append(entry["seconds"])
    table = Table(
        title="Seconds per stage", caption="counted from the stage before; processes wait for a free run slot"
    )
    for column in ("stage", "median", "largest", "processes"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, values in seconds.items():
        table.add_row(stage, f"{median(values):.2f}", f"{max(values):.2f}", str(len(values)))
    console.print(table)
