"""Direct topics at intake: an ordinary accept for the topic's tenant, or a dead letter in the API's words, or later."""

import json
from base64 import b64encode
from typing import Any

import pytest
from sqlalchemy import func, update
from structlog.testing import capture_logs

from api.app import create_app
from contracts.tenancy import Tenant, TenantLimits
from control.actions import RETURNS_WITHIN
from control.log.tables import dead_letters
from control.tables import actions, process_events, processes
from control.tenancy import tenants
from resources.settings import ControlSettings
from tests.integration.control_plane import SUBMIT, TOPIC, TOPIC_ID, WITHOUT_INGEST, ControlPlane
from tests.integration.memory_lake import place
from tests.integration.tenant import Caller, make_tenant

pytestmark = pytest.mark.anyio
KEY = b64encode(b"Idempotency-Key").decode()
ACME, BOLT = "acme.requests", "bolt.requests"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    return settings.model_copy(update={"direct_topics": {ACME: "acme", BOLT: "bolt"}})


@pytest.fixture
async def acme(plane: ControlPlane) -> Caller:
    """One of two tenants, each with a topic."""
    await make_tenant(plane, "bolt")
    return await make_tenant(plane, "acme", "acme-*", backlog=3)


def record(value: Any, offset: int = 0, *keys: str, topic: str = ACME, partition: int = 0) -> dict[str, Any]:
    """Return a direct record as the sensor shows it; bytes are sent as they are, all else as JSON."""
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return {
        "topic": topic,
        "position": {"topic_id": f"id-of-{topic}", "partition": partition, "offset": offset},
        "value": None if raw is None else b64encode(raw).decode(),
        "headers": [{"name": KEY, "value": b64encode(key.encode()).decode()} for key in keys],
    }


def ask(entity: str = "acme-1", version: str = "v1", **changes: Any) -> dict[str, Any]:
    return {**SUBMIT, "entity_id": entity, "data_version": version, **changes}


def verdicts(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["verdict"] for answer in answers]


@pytest.mark.usefixtures("acme")
async def test_a_record_is_accepted_for_the_topics_tenant_and_says_where_it_came_from(plane: ControlPlane) -> None:
    (answer,) = await plane.intake([record(ask(), 7)])
    assert answer["verdict"] == "accepted"
    (row,) = await plane.rows(processes)
    assert (row["tenant_id"], row["state"], str(row["id"])) == ("acme", "accepted", answer["reason"])
    (event,) = await plane.rows(process_events)
    assert (event["kind"], event["actor"]) == ("accepted", f"topic:{ACME}")
    assert event["detail"] == {"topic_id": f"id-of-{ACME}", "partition": 0, "offset": 7}


@pytest.mark.usefixtures("acme")
async def test_a_record_that_is_shown_again_is_the_same_process(plane: ControlPlane) -> None:
    first = await plane.intake([record(ask(), 0)])
    again = await plane.intake([record(ask(), 0)])
    assert (verdicts(first), verdicts(again)) == (["accepted"], ["duplicate"])
    assert again[0]["reason"] == first[0]["reason"]
    assert len(await plane.rows(processes)) == 1


async def test_one_key_is_one_process_by_kafka_and_by_http(plane: ControlPlane, acme: Caller) -> None:
    by_http = await plane.post("/v1/processes", {**acme.headers, "Idempotency-Key": "k-1"}, ask())
    answers = await plane.intake([record(ask(), 0, "k-1"), record(ask(), 1, "k-1")])
    assert verdicts(answers) == ["duplicate"] * 2
    assert {answer["reason"] for answer in answers} == {by_http.json()["process_id"]}
    (reused,) = await plane.intake([record(ask(version="v2"), 2, "k-1")])
    assert reused["reason"].startswith("idempotency_key_reused")


@pytest.mark.usefixtures("acme")
async def test_refusals_become_dead_letters_in_the_apis_words_and_the_same_again(plane: ControlPlane) -> None:
    owned = await plane.intake([record(ask("shared-1"), topic=BOLT), record(ask("acme-9"), 1, topic=BOLT)])
    assert verdicts(owned) == ["accepted"] * 2
    taken = [record(ask(version="taken"), partition=2)]
    assert verdicts(await plane.intake(taken)) == ["accepted"]
    bad: list[tuple[str, str, dict[str, Any]]] = [
        ("tombstone", "no value", record(None, 0)),
        ("malformed_json", "", record(b"{not json", 1)),
        ("malformed_json", "", record(b"", 2)),
        ("malformed_json", "UTF-8", record(b"\x00\xff", 3)),
        ("duplicate_key", "", record(b'{"entity_id": "a", "entity_id": "b"}', 4)),
        ("validation_failed", "tenant: extra_forbidden", record(ask(tenant="bolt"), 5)),
        ("validation_failed", "process_id: extra_forbidden", record(ask(process_id="x"), 6)),
        ("validation_failed", "entity_id: string_type", record(ask(entity_id=7), 7)),
        ("validation_failed", "body", record([], 8)),
        ("validation_failed", "may claim", record(ask("shared-1"), 9)),
        ("not_found", "no entity acme-9", record(ask("acme-9"), 10)),
        ("unknown_action", "", record(ask(action="absent"), 11)),
        ("missing_input", "raw", record(ask(action="refine", params={"day": "d"}), 12)),
        ("callback_forbidden", "", record(ask(callback_url="http://10.0.0.1/"), 13)),
        ("invalid_idempotency_key", "", record(ask(), 14, "a b")),
        ("invalid_idempotency_key", "once", record(ask(), 15, "a", "b")),
        ("payload_too_large", "65536", record(ask(params={"x": "y" * 70_000}), 16)),
        ("oversized", "2000000", {**record(b"{", 17), "truncated_from": 2_000_000}),
        ("oversized", "66 headers", {**record(ask(), 18, "a", "b"), "headers_left_out": 64}),
        ("process_active", "process 0", record(ask(version="taken"), 19)),
    ]
    shown = [each for _, _, each in bad]
    answers = await plane.intake([*shown, record(ask(), 20)])
    assert verdicts(answers) == [*["dead"] * len(bad), "accepted"]
    for (code, words, _), answer in zip(bad, answers, strict=False):
        assert answer["reason"].startswith(f"{code}: "), answer
        assert words in answer["reason"]
    letters = {row["log_offset"]: row for row in await plane.rows(dead_letters)}
    assert [letters[offset]["code"] for offset in range(len(bad))] == [code for code, _, _ in bad]
    assert letters[1]["value"] == b"{not json"
    assert [header["name"] for header in letters[15]["headers"]] == [KEY] * 2
    assert (await plane.intake(shown))[5:] == answers[5 : len(bad)]
    assert len(await plane.rows(dead_letters)) == len(bad)


@pytest.mark.usefixtures("acme")
async def test_what_was_buried_stays_so_although_it_would_be_accepted_now(plane: ControlPlane) -> None:
    early = [record(ask(action="refine", params={"day": "d"}))]
    (dead,) = await plane.intake(early)
    (accepted,) = await plane.intake([record(ask(), 1)])
    assert (dead["verdict"], accepted["verdict"]) == ("dead", "accepted")
    plane.lake.commit(place(entity_id="acme-1"), None, tenant="acme")
    assert await plane.intake(early) == [dead]


@pytest.mark.usefixtures("acme")
async def test_a_full_backlog_lets_its_partition_wait_and_no_other_tenant(plane: ControlPlane) -> None:
    mine = [record(ask(version=f"v{number}"), number) for number in range(5)]
    other = [record(ask("bolt-1", f"v{number}"), number, topic=BOLT) for number in range(5)]
    relayed = await plane.record_of(await plane.accepted())
    shown = {
        "topic": TOPIC,
        "position": {"topic_id": TOPIC_ID, "partition": 0, "offset": 0},
        "value": b64encode(relayed).decode(),
    }
    answers = await plane.intake([*mine, *other, shown])
    assert verdicts(answers) == [*["accepted"] * 3, *["later"] * 2, *["accepted"] * 5, "launch"]
    assert "backlog_full" in answers[3]["reason"]
    assert answers[3]["again_in"] > 0
    assert await plane.rows(dead_letters) == []
    async with plane.db.transaction() as conn:
        rules = Tenant(id="acme", entity_pattern="acme-*", limits=TenantLimits(backlog=9))
        await tenants.change(conn, rules, "test")
    assert verdicts(await plane.intake(mine)) == [*["duplicate"] * 3, *["accepted"] * 2]


@pytest.mark.usefixtures("acme")
async def test_an_action_that_was_just_withdrawn_is_waited_for(plane: ControlPlane) -> None:
    await plane.publish(WITHOUT_INGEST)
    assert verdicts(await plane.intake([record(ask())])) == ["later"]
    await plane.publish(WITHOUT_INGEST)  # each code location that starts says so again
    await plane.publish()
    assert verdicts(await plane.intake([record(ask())])) == ["accepted"]
    await plane.publish(WITHOUT_INGEST)
    async with plane.db.transaction() as conn:
        await conn.execute(update(actions).values(published_at=func.now() - RETURNS_WITHIN))
    (dead,) = await plane.intake([record(ask(version="v2"), 1)])
    assert (dead["verdict"], dead["reason"].partition(":")[0]) == ("dead", "unknown_action")


async def test_a_topic_of_a_tenant_that_is_not_there_waits_for_it(plane: ControlPlane) -> None:
    await make_tenant(plane, "bolt")
    answers = await plane.intake([record(ask()), record(ask("bolt-1"), topic=BOLT)])
    assert verdicts(answers) == ["later", "accepted"]
    assert "'acme'" in answers[0]["reason"]
    await make_tenant(plane, "acme")
    assert verdicts(await plane.intake([record(ask())])) == ["accepted"]


@pytest.mark.usefixtures("acme")
async def test_partitions_go_side_by_side_and_each_keeps_its_order(plane: ControlPlane) -> None:
    shown = [
        record(ask("bolt-1", f"p{partition}-{offset}"), offset, topic=BOLT, partition=partition)
        for partition in range(12)
        for offset in range(3)
    ]
    answers = await plane.intake(shown)
    assert verdicts(answers) == ["accepted"] * 36
    for first in range(0, 36, 3):
        ids = [answer["reason"] for answer in answers[first : first + 3]]
        assert ids == sorted(ids)


async def test_the_api_tells_at_its_start_of_a_tenant_that_is_not_there(plane: ControlPlane) -> None:
    await make_tenant(plane, "bolt")
    app = create_app(settings=plane.settings, db=plane.db, lake=plane.lake)
    with capture_logs() as logs:
        async with app.router.lifespan_context(app):
            pass
    told = [(line["topic"], line["tenant"]) for line in logs if line["event"] == "direct_topic.unknown_tenant"]
    assert told == [(ACME, "acme")]
