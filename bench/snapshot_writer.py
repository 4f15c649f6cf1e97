"""A process that publishes one snapshot after the other by the product's own runner, until it is killed."""

from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from assets.declaration import Action, action
from assets.errors import AlreadyPublishedError
from assets.reading.sources import Sources
from assets.running.runner import run_operator
from assets.running.task import Tools
from bench.kills.location import LakeSession
from contracts.identity import Coordinate
from contracts.messages import Profile
from resources.lake.store import S3Lake
from resources.settings import LakeSettings
from tests.arrow_session import ArrowFrame, ArrowSessions, arrow_schema
from tests.control_plane import FakeControlPlane

FILES, ROWS = 3, 300
SCHEMA = "number bigint, writer string"


def place(writer: int, number: int) -> Coordinate:
    """Return where a writer publishes its n-th snapshot."""
    return Coordinate(f"writer-{writer}", f"v{number}", "rows")


def write(settings: LakeSettings, scratch: Path, writer: int, first: int, told: Connection) -> None:
    """Publish the snapshots ``first``, ``first + 1``, …; the number of each is told before it is begun.

    The rows of one are numbered from 0 to ``ROWS``, over ``FILES`` files, and name the execution that wrote them.
    ``scratch`` is its parent's to remove: nobody who is killed clears up.
    """
    lake = S3Lake(settings, settings.lake_bucket)
    session = LakeSession({settings.lake_bucket: lake}, scratch)
    tools = Tools(FakeControlPlane(), lake, Sources(lake), ArrowSessions(session))
    for number in count(first):
        told.send(number)
        home = place(writer, number)
        try:
            _publish(_rows(session), home, tools)
        except AlreadyPublishedError:
            continue  # by the one before, which was killed after its commit


def _publish(rows: Action, home: Coordinate, tools: Tools) -> None:
    run_operator(rows, home.entity_id, home.data_version, run_id=str(uuid4()), profile=Profile(), tools=tools)


def _rows(session: LakeSession) -> Action:
    execution = str(uuid4())

    def rows() -> Any:
        """Numbered rows."""
        parts = [range(start, start + ROWS // FILES) for start in range(0, ROWS, ROWS // FILES)]
        schema = arrow_schema(SCHEMA)
        tables = [pa.table({"number": list(part), "writer": [execution] * len(part)}, schema) for part in parts]
        return ArrowFrame(session, pa.concat_tables(tables), SCHEMA)

    return action(inputs={}, output="rows", schema=SCHEMA)(rows)
