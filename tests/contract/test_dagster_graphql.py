"""The mutations against Dagster's own webserver: what we send is what it does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import dagster as dg
import httpx
import pytest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.webserver import DagsterWebserver

from assets.partitions import PARTITIONS, add_keys, partition_key
from resources.dagster.graphql import DagsterGraphQL, DagsterGraphQLError

pytestmark = pytest.mark.anyio
DELAYS = dg.AssetKey("daily_delays")
KEY = str(partition_key("UA", "2013-01"))


@dg.asset(key=DELAYS, partitions_def=PARTITIONS)
def delays() -> None: ...


DELAYS_JOB = dg.Definitions(assets=[delays], jobs=[dg.define_asset_job("delays", [delays])]).resolve_job_def("delays")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@asynccontextmanager
async def webserver(instance: dg.DagsterInstance, *, read_only: bool) -> AsyncIterator[DagsterGraphQL]:
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget(), version="test", read_only=read_only) as context:
        app = DagsterWebserver(context).create_asgi_app()
        events = DagsterGraphQL("http://dagster", transport=httpx.ASGITransport(app))
        yield events
        await events.close()


async def test_a_reported_snapshot_is_a_materialization_of_its_partition(instance: dg.DagsterInstance) -> None:
    async with webserver(instance, read_only=False) as events:
        await events.report_materialization("daily_delays", "2013-01|UA", "Committed by run r1.")
    found = instance.get_latest_materialization_event(dg.AssetKey("daily_delays"))
    assert found is not None
    assert found.asset_materialization is not None
    assert found.asset_materialization.partition == "2013-01|UA"
    assert found.asset_materialization.description == "Committed by run r1."


async def test_the_partition_key_is_dagsters_own_spelling() -> None:
    key = dg.MultiPartitionKey({"entity_id": "UA", "data_version": "2013-01"})
    assert str(key) == "2013-01|UA"


async def test_a_read_only_webserver_is_an_error_that_says_so(instance: dg.DagsterInstance) -> None:
    async with webserver(instance, read_only=True) as events:
        with pytest.raises(DagsterGraphQLError, match=r"(?i)permission|authori"):
            await events.report_materialization("daily_delays", "2013-01|UA", "x")
    assert instance.get_latest_materialization_event(dg.AssetKey("daily_delays")) is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="bad gateway"),
        httpx.Response(200, text="not json"),
        httpx.Response(200, json=["x"]),
        httpx.Response(200, json={"errors": [{"message": "no such field"}]}),
        httpx.Response(200, json={"data": {"reportRunlessAssetEvents": {"__typename": "PythonError", "message": "m"}}}),
    ],
)
async def test_any_other_answer_is_an_error(answer: httpx.Response) -> None:
    events = DagsterGraphQL("http://dagster", transport=httpx.MockTransport(lambda _: answer))
    with pytest.raises(DagsterGraphQLError):
        await events.report_materialization("a", "v|e", "x")


async def test_a_webserver_that_is_away_is_an_error() -> None:
    events = DagsterGraphQL("http://127.0.0.1:1")
    with pytest.raises(DagsterGraphQLError):
        await events.report_materialization("a", "v|e", "x")
    await events.close()


async def test_a_run_that_dagster_cannot_end_is_an_error(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(dg.GraphDefinition("x").to_job())  # nobody has launched it
    async with webserver(instance, read_only=False) as dagster:
        with pytest.raises(DagsterGraphQLError, match=run.run_id):
            await dagster.terminate(run.run_id)


async def test_a_run_that_does_not_exist_is_an_error(instance: dg.DagsterInstance) -> None:
    async with webserver(instance, read_only=False) as dagster:
        with pytest.raises(DagsterGraphQLError, match=r"(?i)found|not"):
            await dagster.terminate(str(uuid4()))


@pytest.fixture
def run_id(instance: dg.DagsterInstance) -> str:
    """A run that has materialized one partition."""
    add_keys(instance, "UA", "2013-01")
    return DELAYS_JOB.execute_in_process(instance=instance, partition_key=KEY).run_id


async def test_a_forgotten_run_leaves_its_partition_materialized(instance: dg.DagsterInstance, run_id: str) -> None:
    assert instance.get_materialized_partitions(DELAYS) == {KEY}
    async with webserver(instance, read_only=False) as dagster:
        await dagster.report_materialization("daily_delays", KEY, "no longer kept")
        await dagster.delete_run(run_id)
        assert instance.get_run_by_id(run_id) is None
        with pytest.raises(DagsterGraphQLError, match=run_id):
            await dagster.delete_run(run_id)
    assert instance.get_materialized_partitions(DELAYS) == {KEY}
    # What the pages of an asset show is computed from the same events, another way.
    shown = instance.get_status_by_partition(DELAYS, [KEY], PARTITIONS)
    assert shown == {KEY: AssetPartitionStatus.MATERIALIZED}
