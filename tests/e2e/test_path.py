"""The path itself: from POST to a snapshot that foreign readers read, a signed callback, and lineage in Dagster."""

import deltalake
import httpx
import polars
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from assets.snapshots.verify import verify
from cli.client import ApiError
from cli.demo.summary import read_by_foreigner
from contracts.callbacks import Callback
from contracts.identity import Coordinate
from contracts.states import State
from contracts.storage import dataset_prefix, landing_prefix
from tests.e2e.world import World, wait_for


@pytest.fixture(scope="module")
def published(world: World) -> tuple[str, Coordinate]:
    """Two processes, one after the other; the second's id and coordinate."""
    flights = world.land_flights()
    world.finish(world.submit(flights))
    delays = Coordinate(flights.entity_id, flights.data_version, "daily_delays")
    process_id = world.submit(delays, "daily_delays")
    process = world.finish(process_id)
    assert process["state"] == State.SUCCEEDED, process
    return process_id, delays


def options(world: World) -> dict[str, str]:
    secret = world.settings.s3_secret_key
    assert secret is not None
    return {
        "aws_endpoint_url": world.settings.s3_endpoint or "",
        "aws_access_key_id": world.settings.s3_access_key or "",
        "aws_secret_access_key": secret.get_secret_value(),
        "aws_allow_http": "true",
        "aws_region": world.settings.s3_region,
    }


def test_the_callback_tells_what_the_commit_says(world: World, published: tuple[str, Coordinate]) -> None:
    process_id, target = published
    callback = world.callback_of(process_id)
    assert isinstance(callback, Callback)
    assert callback.data.artifact is not None
    assert callback.data.artifact.rows == 2
    assert callback.data.artifact.path == f"s3://lake/{target}"
    assert world.receiver.rejected == 0
    world.assert_one_outcome(process_id, target)


def test_the_view_shows_every_stage_and_the_run(world: World, published: tuple[str, Coordinate]) -> None:
    process_id, _ = published
    process = world.client.process(process_id)
    stages = [entry["stage"] for entry in process["timeline"]]
    expected = ["accepted", "released", "queued", "run_started", "inputs_resolved", "spark_ready", "written", "audited"]
    assert [stage for stage in stages if stage in expected] == expected
    assert stages.index("audited") < stages.index("succeeded")
    run = wait_for(
        "Dagster's view of the run",
        lambda: (found := world.client.process(process_id)["run"])["status"] == "SUCCESS" and found,
        30,
    )
    assert run["started_at"] < run["ended_at"]
    assert process["snapshot"]["rows"] == 2


def test_foreign_readers_read_it(world: World, published: tuple[str, Coordinate]) -> None:
    _, target = published
    frame = read_by_foreigner(world.settings, target).sort("flight_date")
    assert frame.select("flights", "cancelled").rows() == [(2, 0), (1, 1)]
    table = deltalake.DeltaTable(f"s3://lake/{target}", storage_options=options(world))
    assert table.version() == 0
    assert polars.from_arrow(table.to_pyarrow_table()).shape == (2, 10)


def test_a_delta_writer_cannot_touch_it(world: World, published: tuple[str, Coordinate]) -> None:
    _, target = published
    url = f"s3://lake/{target}"
    before = [(entry.key, entry.size) for entry in world.lake.list(dataset_prefix(target))]
    table = deltalake.DeltaTable(url, storage_options=options(world))
    data = table.to_pyarrow_table()
    for mode in ("append", "overwrite"):
        with pytest.raises((DeltaError, CommitFailedError)):
            deltalake.write_deltalake(url, data, mode=mode, storage_options=options(world))
    with pytest.raises((DeltaError, CommitFailedError)):
        table.delete()
    assert verify(world.lake, target).ok
    assert deltalake.DeltaTable(url, storage_options=options(world)).version() == 0
    committed = [(key, size) for key, size in before if "_delta_log" in key]
    now = [(entry.key, entry.size) for entry in world.lake.list(f"{dataset_prefix(target)}_delta_log/")]
    assert now == committed


def test_orphans_and_foreign_folders_are_invisible(world: World, published: tuple[str, Coordinate]) -> None:
    _, target = published
    commit = world.commit(target)
    assert commit is not None
    world.lake.put(f"{dataset_prefix(target)}{commit.provenance.token}/part-orphan.parquet", b"PAR1junk")
    world.lake.put(f"{dataset_prefix(target)}{'0' * 8}-0000-0000-0000-{'0' * 12}-1-{'0' * 16}/part-0.parquet", b"PAR1")
    assert read_by_foreigner(world.settings, target).height == 2
    assert verify(world.lake, target).ok


def test_what_is_published_is_not_computed_again(world: World, published: tuple[str, Coordinate]) -> None:
    _, target = published
    with pytest.raises(ApiError) as refused:
        world.submit(target, "daily_delays")
    assert refused.value.code == "version_already_published"


def test_dagster_shows_the_materialization_with_its_figures(world: World, published: tuple[str, Coordinate]) -> None:
    _, target = published
    query = """query($key: AssetKeyInput!, $partition: String!) {
      assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(partitions: [$partition]) {
        partition metadataEntries { label ... on IntMetadataEntry { intValue } } } } }
      assetNodeOrError(assetKey: $key) { ... on AssetNode { dependencyKeys { path } } } }"""
    partition = f"{target.data_version}|{target.entity_id}"
    variables = {"key": {"path": ["daily_delays"]}, "partition": partition}
    answer = httpx.post(
        f"{world.settings.dagster_url}/graphql", json={"query": query, "variables": variables}, trust_env=False
    ).json()["data"]
    (materialization,) = answer["assetOrError"]["assetMaterializations"]
    figures = {entry["label"]: entry.get("intValue") for entry in materialization["metadataEntries"]}
    assert figures["rows"] == 2
    assert {"bytes", "path"} <= set(figures)
    assert answer["assetNodeOrError"]["dependencyKeys"] == [{"path": ["flights"]}]


def test_an_action_that_fails_tells_why_and_publishes_nothing(world: World) -> None:
    target = Coordinate("e2e-nothing-landed", "v1", "flights")
    process = world.finish(world.submit(target))
    assert process["state"] == State.FAILED
    assert process["reason"]["code"] == "input_missing"
    assert world.commit(target) is None


def test_files_from_outside_are_registered_with_their_checks(world: World) -> None:
    landed = world.land_flights()
    source = f"s3://{world.settings.landing_bucket}/{landing_prefix(landed)}"
    target = Coordinate(landed.entity_id, "registered", "flights")
    place = {"entity_id": target.entity_id, "data_version": target.data_version, "dataset": target.dataset}
    body = {**place, "source": source, "callback_url": world.receiver.url}
    answer = httpx.post(
        f"{world.client.url}/v1/snapshots", headers=world.client.headers, json=body, trust_env=False, timeout=30
    )
    assert answer.status_code == 202, answer.text
    process = world.finish(answer.json()["process_id"])
    assert process["state"] == State.SUCCEEDED, process
    commit = world.commit(target)
    assert commit is not None
    assert commit.provenance.params == {"source": source}
    assert [check.passed for check in commit.provenance.checks] == [True, True]
    assert read_by_foreigner(world.settings, target).height == commit.rows > 0
