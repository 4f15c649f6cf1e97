"""Retire, over a real database and a real store: what goes, what stays, and that nothing ever comes back."""

import time
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from contracts.identity import Coordinate, new_token
from contracts.reasons import ReasonCode
from contracts.storage import CorruptSnapshotError, commit_key, dataset_prefix, token_prefix, tombstone_key
from control.recovery.retire import ProcessNotEndedError, Retirer, UnknownSnapshotError
from control.recovery.tombstones import read_tombstone
from control.tables import snapshots
from control.tenancy.tables import admin_log
from resources.lake.store import LakeUnavailableError, PresignedPut, PutOutcome
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.store_lake import FILES, StoreLake

pytestmark = pytest.mark.anyio
HERE = place()


class Waits:
    """Keeps for how long was waited. A zombie tries to commit meanwhile, until the store refuses its signature."""

    def __init__(self, zombie: PresignedPut | None = None) -> None:
        self.zombie = zombie
        self.seconds: list[float] = []
        self.outcomes: list[PutOutcome] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        deadline = time.monotonic() + 30
        while self.zombie is not None and self.outcomes[-1:] != [PutOutcome.EXPIRED]:
            assert time.monotonic() < deadline
            self.outcomes.append(self.zombie.send(b"a zombie's"))


def retirer(plane: ControlPlane, lake: StoreLake, waits: Waits | None = None) -> Retirer:
    return Retirer(plane.db, lake, plane.settings, "cli:operator", wait=waits or Waits())


async def published(plane: ControlPlane, where: Coordinate = HERE) -> UUID:
    process_id = await plane.running(entity_id=where.entity_id, data_version=where.data_version)
    plane.lake.commit(where, process_id)
    assert (await plane.report(process_id, "succeeded")).status_code == 200
    return process_id


async def log_lines(plane: ControlPlane) -> list[tuple[str, str, str | None]]:
    lines = [line for line in await plane.rows(admin_log) if line["kind"].startswith("snapshot_")]
    return [(line["actor"], line["kind"], line["tenant_id"]) for line in lines]


async def test_exactly_the_snapshot_goes_and_everybody_is_told(plane: ControlPlane, lake: StoreLake) -> None:
    process_id, other = await published(plane), place(data_version="v2")
    await published(plane, other)
    orphan = f"{token_prefix(HERE, new_token(str(uuid4()), 1))}part-0.parquet"
    lake.put(orphan, b"of a run that died")
    kept = {orphan, *lake.stored(dataset_prefix(other))}
    waits = Waits()

    assert await retirer(plane, lake, waits).retire(HERE) == 1 + len(FILES)

    assert waits.seconds == [120 + 5 + 10]
    assert lake.stored() == {*kept, tombstone_key(HERE)}
    stone = await read_tombstone(lake, HERE)
    assert stone is not None
    shown = (await plane.get("/v1/snapshots/cust_8842/v1/raw")).json()
    assert (stone.retired_by, stone.process_id, stone.tenant) == ("cli:operator", process_id, "default")
    assert shown["artifact"] == stone.artifact.model_dump(mode="json")
    assert datetime.fromisoformat(shown["retired_at"]) == stone.retired_at
    untouched = (await plane.get("/v1/snapshots/cust_8842/v2/raw")).json()
    assert untouched["retired_at"] is None
    assert await log_lines(plane) == [
        ("cli:operator", "snapshot_retired", "default"),
        ("cli:operator", "snapshot_removed", "default"),
    ]


async def test_nothing_new_is_accepted_there_or_reads_it(plane: ControlPlane, lake: StoreLake) -> None:
    await published(plane)
    await retirer(plane, lake).retire(HERE)
    for query in ("", "?on_conflict=use_existing", "?dry_run=true"):
        refused = await plane.submit(query=query)
        assert (refused.status_code, refused.json()["code"]) == (409, "version_retired")
    reader = await plane.submit(action="refine", params={"day": "d"})
    assert (reader.json()["code"], "was retired" in reader.json()["detail"]) == ("missing_input", True)


async def test_a_commit_that_was_signed_before_is_outwaited(plane: ControlPlane, lake: StoreLake) -> None:
    await published(plane)
    zombie = lake.presign_commit(commit_key(HERE), 2)
    waits = Waits(zombie)
    await retirer(plane, lake, waits).retire(HERE)
    assert waits.outcomes[0] is PutOutcome.EXISTS
    assert set(waits.outcomes) == {PutOutcome.EXISTS, PutOutcome.EXPIRED}
    assert zombie.send(b"a zombie's") is PutOutcome.EXPIRED
    assert lake.get(commit_key(HERE)) is None


async def test_a_process_that_has_not_ended_there_is_not_robbed_of_its_snapshot(
    plane: ControlPlane, lake: StoreLake
) -> None:
    process_id = await plane.running()
    lake.commit(HERE, process_id)  # and its report is still on its way
    before = lake.stored()
    with pytest.raises(ProcessNotEndedError, match=str(process_id)):
        await retirer(plane, lake).retire(HERE)
    assert (lake.stored(), await plane.rows(snapshots), await log_lines(plane)) == (before, [], [])
    await plane.report(process_id, "succeeded")
    await retirer(plane, lake).retire(HERE)
    assert (await plane.process(process_id))["state"] == "succeeded"


async def test_an_operators_snapshot_that_nobody_reported_can_be_retired(plane: ControlPlane, lake: StoreLake) -> None:
    lake.commit(HERE, None, None, None)
    assert (await retirer(plane, lake).look(HERE)).artifact.rows == 3
    await retirer(plane, lake).retire(HERE)
    (row,) = await plane.rows(snapshots)
    assert (row["process_id"], row["retired_at"] is None) == (None, False)
    assert lake.stored() == {tombstone_key(HERE)}


async def test_where_nothing_is_nothing_is_retired(plane: ControlPlane, lake: StoreLake) -> None:
    for ask in (retirer(plane, lake).look, retirer(plane, lake).retire):
        with pytest.raises(UnknownSnapshotError):
            await ask(HERE)
    assert (lake.stored(), await plane.rows(snapshots)) == (set(), [])


async def test_a_commit_that_nobody_can_read_goes_if_the_index_knows_it(plane: ControlPlane, lake: StoreLake) -> None:
    lake.put(commit_key(HERE), b"not a commit")
    with pytest.raises(CorruptSnapshotError):
        await retirer(plane, lake).retire(HERE)
    lake.delete([commit_key(HERE)])
    await published(plane)
    lake.put(commit_key(HERE), b"not a commit any more")
    assert await retirer(plane, lake).retire(HERE) == 1 + len(FILES)
    assert lake.stored() == {tombstone_key(HERE)}


async def test_saying_it_again_removes_what_is_left_and_changes_nothing_else(
    plane: ControlPlane, lake: StoreLake
) -> None:
    await published(plane)
    await retirer(plane, lake).retire(HERE)
    stone, row = await read_tombstone(lake, HERE), await plane.rows(snapshots)
    assert stone is not None
    lake.put(f"{token_prefix(HERE, stone.token)}part-9.parquet", b"left behind")
    waits = Waits()
    assert await retirer(plane, lake, waits).retire(HERE) == 1
    assert waits.seconds == [120 + 5 + 10], "the call before may have been cut off in its pause"
    assert (await read_tombstone(lake, HERE), await plane.rows(snapshots)) == (stone, row)


async def test_a_store_that_gives_out_leaves_it_retired_and_to_be_said_again(
    plane: ControlPlane, lake: StoreLake
) -> None:
    await published(plane)

    async def goes_down(_: float) -> None:
        lake.is_down = True

    with pytest.raises(LakeUnavailableError):
        await Retirer(plane.db, DeafToDeletes(lake), plane.settings, "cli:operator", wait=goes_down).retire(HERE)
    lake.is_down = False
    assert (await plane.submit()).json()["code"] == "version_retired"
    assert lake.get(commit_key(HERE)) is not None
    await retirer(plane, lake).retire(HERE)
    assert lake.stored() == {tombstone_key(HERE)}


class DeafToDeletes(StoreLake):
    """Removes nothing while the lake that it stands for is down."""

    def __init__(self, lake: StoreLake) -> None:
        self.lake, self.store = lake, lake.store

    def get(self, key: str) -> bytes | None:
        return self.lake.get(key)

    def delete(self, keys: object) -> None:
        raise LakeUnavailableError(f"{keys}: the lake is down")


async def test_no_permit_is_given_at_a_retired_coordinate(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.retire(HERE)
    refused = await plane.committing(process_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "version_retired")
    assert (await plane.process(process_id))["permit_until"] is None
    await plane.failed(process_id, ReasonCode.VERSION_RETIRED.value)
    row = await plane.process(process_id)
    assert (row["state"], row["attempt"], row["reason"]["code"]) == ("failed", 1, "version_retired")
