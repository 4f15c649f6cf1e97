"""Where a delivery is read from: its own folder in the landing bucket, or the folder that the request names."""

from collections.abc import Callable
from dataclasses import dataclass

from assets.errors import InputMissingError
from contracts.identity import Coordinate
from contracts.sources import bucket_and_prefix, is_allowed
from contracts.storage import landing_prefix
from resources.lake.store import Lake


@dataclass(frozen=True, slots=True)
class Sources:
    """The buckets that deliveries may be read from. ``open_bucket``: name → bucket; None when there is only landing."""

    landing: Lake
    landing_bucket: str = "landing"
    allowed: tuple[str, ...] = ()
    open_bucket: Callable[[str], Lake] | None = None

    def find(self, source: str | None, home: Coordinate, tenant: str | None) -> tuple[Lake, str]:
        """Return the bucket and the prefix of a delivery. Raises InputMissingError for what may not be read.

        ``home`` is where files are delivered to when no ``source`` is named. The API has refused the same before;
        requests that came by another way are refused here.
        """
        if source is None:
            return self.landing, landing_prefix(home)
        if not is_allowed(source, self.allowed, self.landing_bucket, tenant, home.entity_id):
            raise InputMissingError(f"{source} may not be read; LAKEMILL_REGISTER_SOURCES says what may")
        bucket, prefix = bucket_and_prefix(source)
        if bucket == self.landing_bucket or self.open_bucket is None:
            return self.landing, prefix
        return self.open_bucket(bucket), prefix
