"""``/metrics``: what an operator watches, in Prometheus's format, whoever asks; and what it never names."""

from datetime import timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import func, insert

from api.app import create_app
from control.releasing.release import release_once
from control.tables import deliveries
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.memory_lake import MemoryLake
from tests.integration.worker_rows import add_process, set_columns
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def read(http: httpx.AsyncClient) -> tuple[Samples, str]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    samples = {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}
    return samples, answer.text


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"lakemill_{name}", frozenset(labels.items())]


async def test_it_counts_what_waits_and_for_how_long(plane: ControlPlane) -> None:
    first, second = await plane.accepted(), await plane.accepted(data_version="v2")
    await set_columns(plane.db, first, not_before=func.now() - timedelta(seconds=90))
    before, _ = await read(plane.http)
    assert of(before, "database_up") == 1
    assert of(before, "processes", state="accepted") == of(before, "waiting") == 2
    assert 90 <= of(before, "waiting_seconds") < 120
    assert await release_once(plane.db, MemoryLog(), plane.settings) == 2
    await plane.relaunched(second)
    after, _ = await read(plane.http)
    assert (of(after, "waiting"), of(after, "waiting_seconds"), of(after, "in_flight")) == (0, 0, 2)
    assert of(after, "processes", state="queued") == 1
    assert of(after, "sensor_silent_seconds") < 60


async def test_it_counts_callbacks_that_are_late_or_given_up(plane: ControlPlane) -> None:
    process_id = await add_process(plane.db, state="failed")
    row = {"process_id": process_id, "tenant_id": "default", "body": "{}"}
    late = func.now() - timedelta(seconds=300)
    async with plane.db.transaction() as conn:
        for number, state in enumerate(("pending", "exhausted", "exhausted", "delivered")):
            values = {**row, "id": func.gen_random_uuid(), "url": f"http://{number}", "state": state}
            await conn.execute(insert(deliveries).values(**values, next_try_at=late))
    samples, _ = await read(plane.http)
    assert (of(samples, "callbacks_pending"), of(samples, "callbacks_exhausted")) == (1, 2)
    assert 300 <= of(samples, "callbacks_overdue_seconds") < 330


async def test_requests_are_counted_by_their_declared_path_and_nobody_is_named(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    await plane.get(f"/v1/processes/{process_id}")
    await plane.http.get("/a/path/that/somebody/made-up")
    samples, text = await read(plane.http)
    view = {"method": "GET", "route": "/v1/processes/{process_id}"}
    assert of(samples, "requests_total", **view, status="200") == 1
    assert of(samples, "request_seconds_count", **view) == 1
    assert of(samples, "requests_total", method="GET", route="unknown", status="404") == 1
    for name in (str(process_id), SUBMIT["entity_id"], "default", "made-up", plane.key):
        assert name not in text


async def test_without_a_database_it_still_answers_and_says_so(settings: ControlSettings) -> None:
    away = Database(SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/none"))
    app = create_app(settings=settings, db=away, lake=MemoryLake())
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        samples, _ = await read(http)
    await away.close()
    assert of(samples, "database_up") == 0
    assert ("lakemill_waiting", frozenset()) not in samples
