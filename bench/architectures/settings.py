"""What the two that keep everything in PostgreSQL share: their database, its tuning, and the deliveries."""

import asyncpg

from contracts.identity import Coordinate
from contracts.storage import landing_prefix
from resources.lake.store import S3Lake
from resources.settings import control_settings

DATABASE = "field"
POOL = 10
"""Connections of one process."""

TUNING = {
    "shared_buffers": "2GB",
    "effective_cache_size": "8GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
}
"""What somebody who knows PostgreSQL sets on such a machine, before the data come."""


async def connect() -> asyncpg.Pool:
    """Return a pool of connections to the application's database."""
    url = control_settings().database_url.get_secret_value().replace("+asyncpg", "")
    return await asyncpg.create_pool(
        f"{url.rpartition('/')[0]}/{DATABASE}", min_size=1, max_size=POOL, command_timeout=None
    )


def delivery(place: Coordinate) -> bytes:
    """Return the Parquet file that was delivered for ``place``. Raises LookupError."""
    settings = control_settings()
    landing = S3Lake(settings, settings.landing_bucket)
    body = landing.get(f"{landing_prefix(place)}{place.dataset}.parquet")
    if body is None:
        raise LookupError(f"nothing was delivered for {place}")
    return body
