"""The contract suites meet the same real PostgreSQL as the integration tests."""

from tests.integration.conftest import anyio_backend, database_url, db, lake, postgres_address, settings

__all__ = ["anyio_backend", "database_url", "db", "lake", "postgres_address", "settings"]
