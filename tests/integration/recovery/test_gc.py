"""gc over a real database and a real store: what goes, what stays, and that it may be cut off anywhere."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from contracts.identity import Coordinate, new_token
from contracts.problems import ProblemError
from contracts.reports import MAX_RUN_SECONDS
from contracts.storage import commit_key, dataset_prefix, success_key, token_prefix
from control.recovery.gc import Collected, Collector
from control.recovery.state import begin
from control.rules.garbage import Kept
from control.tenancy.tables import admin_log
from resources.lake.store import ObjectInfo, PutOutcome
from resources.settings import LakeSettings
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.store_lake import FILES, StoreLake

pytestmark = pytest.mark.anyio
HERE = place()
LONG_AGO = timedelta(seconds=2 * MAX_RUN_SECONDS)


class AgedLake(StoreLake):
    """A bucket whose objects were stored long ago, but for those in a folder of ``young``."""

    def __init__(self, store: LakeSettings) -> None:
        super().__init__(store)
        self.young: set[str] = set()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for found in super().list(prefix):
            assert found.modified_at is not None
            is_young = any(token in found.key for token in self.young)
            yield found if is_young else replace(found, modified_at=found.modified_at - LONG_AGO)


@pytest.fixture
def lake(store: LakeSettings) -> AgedLake:
    return AgedLake(store)


class KilledError(Exception):
    """The collector's process was killed."""


def collector(plane: ControlPlane, lake: AgedLake) -> Collector:
    async def no_time(seconds: float) -> None:
        assert seconds == 120 + 5 + 10

    return Collector(plane.db, lake, plane.settings, "cli:operator", wait=no_time)


def orphan(lake: AgedLake, execution: str, where: Coordinate = HERE) -> str:
    """Leave what a run that died has written; return its token."""
    token = new_token(execution, 1)
    for name in (*FILES, "__magic_job-1/x.pending"):
        lake.put(f"{token_prefix(where, token)}{name}", b"0123456789")
    return token


def tokens(found: Collected) -> set[str]:
    return {each.folder.token for each in found.garbage}


async def test_exactly_what_nobody_can_commit_any_more_goes(plane: ControlPlane, lake: AgedLake) -> None:
    published = await plane.running()
    committed = lake.commit(HERE, published)
    beside = orphan(lake, str(published))  # an earlier attempt of the very process
    live_place = place(data_version="v2")
    running = await plane.running(data_version="v2")
    live = orphan(lake, str(running), live_place)
    young = orphan(lake, str(uuid4()), live_place)
    lake.young = {young}
    of_an_operator = orphan(lake, str(uuid4()), live_place)
    unreadable = place(data_version="v3")
    lake.put(commit_key(unreadable), b"{}")
    doubtful = orphan(lake, str(uuid4()), unreadable)
    strangers = {f"{dataset_prefix(HERE)}notes/readme", "_lakemill/doctor/x", "cust_8842/readme"}
    for key in strangers:
        lake.put(key, b"x")
    # Until it has ended, every attempt of it may be alive.
    found = await collector(plane, lake).look()
    assert tokens(found) == {of_an_operator}
    assert (found.kept[Kept.LIVE], found.kept[Kept.COMMITTED]) == (2, 1)

    await plane.report(published, "succeeded")
    before = lake.stored()
    found = await collector(plane, lake).look()
    assert lake.stored() == before
    assert tokens(found) == {beside, of_an_operator}
    assert {each.folder.token: (each.objects, each.bytes) for each in found.garbage}[beside] == (3, 30)
    assert found.kept == {Kept.YOUNG: 1, Kept.COMMITTED: 1, Kept.UNREADABLE: 1, Kept.LIVE: 1}

    await collector(plane, lake).collect(found)
    gone = {key for key in before if beside in key or of_an_operator in key}
    assert lake.stored() == before - gone
    assert found.removed == 2
    for token in (committed, live, young, doubtful):
        assert any(token in key for key in lake.stored())
    (line,) = [each for each in await plane.rows(admin_log) if each["kind"] == "garbage_removed"]
    assert line["detail"] == {"folders": 2, "found": 2}


async def test_one_entity_is_not_the_others(plane: ControlPlane, lake: AgedLake) -> None:
    mine = orphan(lake, str(uuid4()))
    orphan(lake, str(uuid4()), place(entity_id="cust_88"))
    assert tokens(await collector(plane, lake).look("cust_8842")) == {mine}


async def test_a_commit_that_comes_in_the_pause_keeps_its_files(plane: ControlPlane, lake: AgedLake) -> None:
    token, body = lake.write(HERE, None)
    put = lake.presign_commit(commit_key(HERE), 60)
    collecting = collector(plane, lake)

    async def it_commits(_seconds: float) -> None:
        assert put.send(body) is PutOutcome.CREATED

    found = await collecting.look()
    assert tokens(found) == {token}
    await replace(collecting, wait=it_commits).collect(found)
    assert found.removed == 0
    folder = token_prefix(HERE, token)
    assert lake.stored(folder) == {f"{folder}{name}" for name in FILES} - {success_key(HERE, token)}


async def test_something_written_in_the_pause_keeps_all_of_it(plane: ControlPlane, lake: AgedLake) -> None:
    token = orphan(lake, str(uuid4()))

    async def it_writes(_seconds: float) -> None:
        lake.young = {token}

    collecting = replace(collector(plane, lake), wait=it_writes)
    found = await collecting.look()
    await collecting.collect(found)
    assert found.removed == 0
    assert len(lake.stored(token_prefix(HERE, token))) == 2


async def test_cut_off_it_begins_again(plane: ControlPlane, lake: AgedLake) -> None:
    token = orphan(lake, str(uuid4()))

    async def killed(_seconds: float) -> None:
        raise KilledError

    collecting = collector(plane, lake)
    with pytest.raises(KilledError):
        await replace(collecting, wait=killed).collect(await collecting.look())
    lake.delete([f"{token_prefix(HERE, token)}part-0.parquet"])  # killed later: some of it is gone
    found = await collecting.look()
    assert tokens(found) == {token}
    await collecting.collect(found)
    assert lake.stored() == set()
    assert tokens(await collecting.look()) == set()


async def test_nothing_is_judged_while_the_database_is_being_rebuilt(plane: ControlPlane, lake: AgedLake) -> None:
    async with plane.db.transaction() as conn:
        await begin(conn, "cli:operator")
    with pytest.raises(ProblemError, match="rebuilt"):
        await collector(plane, lake).look()


async def test_what_is_told_is_json(plane: ControlPlane, lake: AgedLake) -> None:
    token = orphan(lake, str(uuid4()))
    (garbage,) = (await collector(plane, lake).look()).garbage
    told = json.loads(json.dumps(garbage.document()))
    assert (told["entity_id"], told["token"], told["objects"], told["bytes"]) == ("cust_8842", token, 3, 30)
