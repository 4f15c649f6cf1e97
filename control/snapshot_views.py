"""What the API tells of snapshots: those at entities that a tenant has, or that are shared with it."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, Text, Tuple, and_, cast, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, array

from contracts.callbacks import Artifact
from contracts.identity import Coordinate
from contracts.problems import ProblemError
from contracts.tenancy import EVERYBODY
from contracts.views import SnapshotPage, SnapshotView
from control.snapshots import coordinate_of
from control.tables import SHARED_SQL, entities, snapshots
from resources.database import Database

_PLACE = (snapshots.c.entity_id, snapshots.c.data_version, snapshots.c.dataset)


async def page(
    db: Database, tenant_id: str, filters: Mapping[str, Any], *, limit: int, cursor: str | None = None
) -> SnapshotPage:
    """Return the snapshots that match, ``limit`` at most, after ``cursor``.

    ``filters``: column (entity_id, data_version, dataset) → value, None for any. Raises ProblemError
    (validation_failed) for a cursor that is none.
    """
    after = None if cursor is None else _decode(cursor)
    query = _readable(tenant_id, after).order_by(*_PLACE)
    for column, value in filters.items():
        if value is not None:
            query = query.where(snapshots.c[column] == value)
    async with db.reading() as conn:
        rows = (await conn.execute(query.limit(limit + 1))).mappings().all()
    shown = rows[:limit]
    more = _encode(coordinate_of(shown[-1])) if len(rows) > limit else None
    return SnapshotPage(snapshots=[_view(row, tenant_id) for row in shown], next_cursor=more)


async def get(db: Database, tenant_id: str, place: Coordinate) -> SnapshotView:
    """Return one snapshot. Raises ProblemError (not_found), also for one that the tenant may not read."""
    here = tuple_(*_PLACE) == _row(place)
    async with db.reading() as conn:
        row = (await conn.execute(_readable(tenant_id).where(here))).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", "there is no such snapshot")
    return _view(row, tenant_id)


def _readable(tenant_id: str, after: Coordinate | None = None) -> Select[Any]:
    """Select what the tenant may read, behind ``after``.

    A tenant's own entities and those that are shared with it are each found by an index, when they are few.
    """
    is_shared: ColumnElement[bool] = entities.c.shared_with.has_any(cast(array([tenant_id, EVERYBODY]), ARRAY(Text)))
    may_read = or_(entities.c.tenant_id == tenant_id, and_(is_shared, SHARED_SQL))
    query = select(snapshots).join(entities, entities.c.entity_id == snapshots.c.entity_id).where(may_read)
    if after is None:
        return query
    # The first condition follows from the second, which the planner does not see.
    return query.where(entities.c.entity_id >= after.entity_id, tuple_(*_PLACE) > _row(after))


def _view(row: RowMapping, tenant_id: str) -> SnapshotView:
    return SnapshotView(
        entity_id=row["entity_id"],
        data_version=row["data_version"],
        dataset=row["dataset"],
        artifact=Artifact.model_validate(row["artifact"]),
        process_id=row["process_id"] if row["tenant_id"] == tenant_id else None,
        retired_at=row["retired_at"],
    )


def _row(place: Coordinate) -> Tuple:
    return tuple_(literal(place.entity_id), literal(place.data_version), literal(place.dataset))


def _encode(place: Coordinate) -> str:
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def _decode(cursor: str) -> Coordinate:
    # It names a place, not a row: whatever it holds, the query shows what the tenant may read.
    try:
        return Coordinate.parse(base64.urlsafe_b64decode(cursor + "==").decode())
    except (ValueError, binascii.Error):
        errors = [{"field": "cursor", "rule": "must be the next_cursor of an earlier page"}]
        raise ProblemError("validation_failed", "the cursor cannot be read", errors=errors) from None
