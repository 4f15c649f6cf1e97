"""What all tables of the control plane share: naming, JSON, time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql import JSONB as _JSONB

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

JSONB = _JSONB(none_as_null=True)  # Python's None is SQL's NULL, never JSON's null
# JSONB would rewrite numbers (1e16, -0.0) and reorder keys; what is hashed or repeated must come back as written.
VERBATIM = JSON(none_as_null=True)

Row = sa.RowMapping | Mapping[str, Any]
"""A row as it was read, by the names of its columns."""


def now(name: str) -> sa.Column[datetime]:
    """Return a column that holds when its row was made."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def moment(name: str) -> sa.Column[datetime]:
    """Return a column of a time that may never come."""
    return sa.Column(name, sa.DateTime(timezone=True))
