"""The entities of a backfill are written at once: 100,000 checks of a foreign key took longer than all the rest."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Drop the foreign key: the rows are written with their backfill, and no backfill is ever removed."""
    op.drop_constraint("fk_backfill_entities_backfill_id", "backfill_entities", type_="foreignkey")
