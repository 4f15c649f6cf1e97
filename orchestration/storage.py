"""Dagster's PostgreSQL storage with connections kept open: by the long-lived servers always, by runs while they write.

dagster-postgres opens a connection for every statement, which costs more than the statement. Its webserver asks for
a pool; the daemon, the code server and the runs never do. It also looks into PostgreSQL's catalogue again and again for
whether Dagster's tables have what later versions added; here it is told yes from memory. In dagster.yaml:

    storage:
      custom:
        module: orchestration.storage
        class: PooledPostgresStorage
        config: {postgres_url: …, keep_connections: {env: …}}
"""

import select
import time
from multiprocessing import parent_process
from threading import Thread
from typing import Any, Self

from dagster import Field, IntSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.config import pg_config
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config, set_pg_statement_timeout
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

STATEMENT_TIMEOUT_MS = 60_000
RECYCLE_SECONDS = 3_600
IDLE_SECONDS = 2.0
"""After so long without a statement a run closes its connections."""
_OF_A_RUN = 3
_QUESTIONS = (
    *("has_table", "has_built_index", "has_secondary_index", "has_secondary_index_table", "has_run_stats_index_cols"),
    *("has_backfill_id_column", "has_bulk_actions_selector_cols", "has_instigators_table", "_has_instigators_table"),
    *("has_asset_key_col", "_has_asset_key_col_on_connection"),
)
"""What a part of the storage asks about its own tables."""


class PooledPostgresStorage(DagsterPostgresStorage):
    """Keeps connections open, up to ``keep_connections`` for each part of the storage.

    Runs are many, and silent while they compute: they keep theirs for ``IDLE_SECONDS`` only, and ask before each use
    whether it lives, because none of them must fail when the database was restarted meanwhile. A run started by the
    code server is known by its parent process; run pods set ``keep_connections`` to 0.
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
        parts: list[Any] = [storage.run_storage, storage.event_log_storage, storage.schedule_storage]
        if keep and parent_process() is None:
            for part in parts:
                _pool(part, keep)
        else:
            for part in parts[:2]:  # a run has no schedules
                _pool(part, _OF_A_RUN)
                _keep_while_busy(part._engine)
        for part in parts:
            for question in _QUESTIONS:
                _ask_until_yes(part, question)
        return storage


def _pool(part: Any, size: int) -> None:
    """Let a part of the storage keep as many connections as it needs at once, ``size`` at most.

    ``optimize_for_webserver`` of dagster-postgres keeps one and closes every other after one use.
    """
    part._engine = create_pg_engine(
        part.postgres_url,
        part._token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_recycle=RECYCLE_SECONDS,
    )
    event.listen(part._engine, "connect", lambda conn, _: set_pg_statement_timeout(conn, STATEMENT_TIMEOUT_MS))


def _ask_until_yes(part: Any, question: str) -> None:
    """Remember a yes: a migration adds tables and columns, and none takes them away."""
    ask = getattr(part, question, None)  # each part has some
    if ask is None:
        return
    known: set[tuple[str, ...]] = set()

    def answer(*given: Any) -> bool:
        about = tuple(each for each in given if isinstance(each, str))
        if about not in known and ask(*given):
            known.add(about)
        return about in known

    setattr(part, question, answer)


def _keep_while_busy(engine: Engine) -> None:
    used_at = time.monotonic()

    def note_use(_connection: Any, _record: object) -> None:
        nonlocal used_at
        used_at = time.monotonic()

    def close_idle() -> None:
        while True:
            time.sleep(IDLE_SECONDS / 2)
            if time.monotonic() - used_at > IDLE_SECONDS:
                engine.dispose()

    event.listen(engine, "checkout", _refuse_lost)
    event.listen(engine, "checkin", note_use)
    Thread(target=close_idle, name="close-idle-connections", daemon=True).start()


def _refuse_lost(connection: Any, _record: object, _lent: object) -> None:
    """Let the pool replace a connection that does not answer. It is asked only when something has come unasked."""
    arrived = select.poll()
    try:
        arrived.register(connection, select.POLLIN)
        if not arrived.poll(0):
            return  # the end of a connection would have come
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except connection.Error as error:  # psycopg2 names its errors on each connection
        raise DisconnectionError from error
