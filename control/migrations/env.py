"""Alembic's entry: it runs the steps on the connection that ``control.migrate`` has opened and locked."""

from alembic import context

from control import tables  # noqa: F401 - they declare their tables when they are imported
from control.backfills import tables as backfill_tables  # noqa: F401
from control.log import tables as log_tables  # noqa: F401
from control.recovery import tables as recovery_tables  # noqa: F401
from control.schema import metadata
from control.tenancy import tables as tenancy_tables  # noqa: F401

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
