"""Alembic's entry: it runs the steps on the connection that ``control.migrate`` has opened and locked."""

from alembic import context

from control.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
