"""TPC-H by the standard generator (tpchgen-cli), landed in a bench's own store and ingested there by the product."""

from collections.abc import Mapping
from dataclasses import dataclass

from assets.snapshots.reader import open_snapshot
from bench.requester import Requester
from cli.demo.landing import TPCH_TABLES, land_tpch
from contracts.identity import Coordinate
from contracts.storage import landing_prefix
from resources.lake.store import Lake


@dataclass(frozen=True, slots=True)
class Tpch:
    """The three tables that ``aggregate_revenue`` reads, at one scale: raw in ``landing``, published in ``lake``."""

    version: str
    landing: Lake
    lake: Lake
    rows: Mapping[str, int]
    """Table → its rows."""

    @classmethod
    def prepare(cls, scale: float, landing: Lake, lake: Lake, requester: Requester) -> "Tpch":
        """Generate, land and ingest, one table after the other. Raises ProcessFailedError."""
        landed = list(land_tpch(landing, scale=scale))
        for each in landed:
            requester.run(f"ingest_{each.coordinate.dataset}", each.coordinate)
        rows = {each.coordinate.dataset: each.rows for each in landed}
        return cls(landed[0].coordinate.data_version, landing, lake, rows)

    @property
    def entity(self) -> str:
        """Whose tables they are."""
        return "tpch"

    def request(self, action: str) -> dict[str, object]:
        """Return what a request at another version of the same entity adds, so that it reads these tables."""
        if action == "ingest_lineitem":
            place = Coordinate(self.entity, self.version, "lineitem")
            return {"params": {"source": self.landing.url(landing_prefix(place))}}
        home = {"entity_id": self.entity, "data_version": self.version}
        return {"inputs": dict.fromkeys(TPCH_TABLES, home)}

    def sources(self, action: str) -> dict[str, str]:
        """Return input → folder of Parquet (``s3a://…``): the very files that the action reads."""
        return {name: self._folder(action, name) for name in self._inputs(action)}

    def count(self, action: str) -> int:
        """Return how many rows the action reads."""
        return sum(self.rows[name] for name in self._inputs(action))

    def _inputs(self, action: str) -> tuple[str, ...]:
        return TPCH_TABLES if action == "aggregate_revenue" else ("lineitem",)

    def _folder(self, action: str, name: str) -> str:
        place = Coordinate(self.entity, self.version, name)
        if action == "ingest_lineitem":
            return self.landing.spark_url(landing_prefix(place))
        return self.lake.spark_url(open_snapshot(self.lake, place).folder)
