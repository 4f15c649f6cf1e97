"""Whether the control plane is being rebuilt after a restore of its database."""

import sqlalchemy as sa

from control.schema import metadata, now

recovery = sa.Table(
    "recovery",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),  # 1: there is one row, or none
    now("began_at"),
    sa.Column("actor", sa.Text, nullable=False),
)
"""One row from the beginning of a rebuild until one has ended well; a rebuild that is killed leaves it."""

RECOVERING = sa.exists().select_from(recovery)
"""As a condition of a query: nothing new may be accepted or released now."""
