"""Dagster's PostgreSQL storage with connections kept open, for the long-lived servers.

dagster-postgres opens a connection for every statement, which costs more than the statement. Its webserver asks for
a pool; the daemon and the code server never do. In dagster.yaml:

    storage:
      custom:
        module: orchestration.storage
        class: PooledPostgresStorage
        config: {postgres_url: …, keep_connections: {env: …}}
"""

from multiprocessing import parent_process
from typing import Any, Self

from dagster import Field, IntSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.config import pg_config
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config

STATEMENT_TIMEOUT_MS = 60_000
RECYCLE_SECONDS = 3_600


class PooledPostgresStorage(DagsterPostgresStorage):
    """Keeps one connection open per part of the storage, and up to ``keep_connections`` more while they are busy.

    Runs never keep any: they are many, and one of them must not fail because the database was restarted meanwhile. A
    run started by the code server is known by its parent process; run pods set ``keep_connections`` to 0.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return dagster-postgres' own fields and ``keep_connections``."""
        fields: Any = pg_config()
        return {
            **fields,
            "keep_connections": Field(IntSource, is_required=False, default_value=0),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Build the storage from dagster.yaml."""
        storage = cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
        keep = config_value["keep_connections"]
        if keep and parent_process() is None:
            for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
                part.optimize_for_webserver(STATEMENT_TIMEOUT_MS, RECYCLE_SECONDS, max_overflow=keep)
        return storage
