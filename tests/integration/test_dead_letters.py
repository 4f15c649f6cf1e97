"""Dead letters from the command line: found, shown without harm to the terminal, judged again."""

import json
from base64 import b64encode
from typing import Any
from uuid import UUID

import anyio
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from contracts.intake import LogPosition, LogRecord
from control.accepting.inputs import InputCheck
from control.log.dead_letters import bury
from control.log.redriving import Redriven, Redriver
from control.log.tables import dead_letters
from control.releasing.release import release_once
from control.rules.dead import DeadRecordError
from control.tables import process_events, processes
from control.tenancy.admin_log import newest
from resources.settings import ControlSettings, control_settings
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.tenant import make_tenant
from tests.integration.test_direct_records import ACME, BOLT, ask, record, verdicts
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
HOSTILE = b'{"a": "\x1b[31mred\x07\r\nreason: forged \xe2\x80\xae\xff"'


@pytest.fixture
def settings(settings: ControlSettings, monkeypatch: pytest.MonkeyPatch) -> ControlSettings:
    monkeypatch.setenv("LAKEMILL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAKEMILL_INTERNAL_SECRET", settings.internal_secret.get_secret_value())
    monkeypatch.setenv("LAKEMILL_DIRECT_TOPICS", f"{ACME}=acme, {BOLT}=bolt")
    control_settings.cache_clear()
    return settings.model_copy(update={"direct_topics": {ACME: "acme", BOLT: "bolt"}})


async def lakemill(*arguments: str) -> Result:
    """Run ``lakemill dead-letters …``, which has an event loop of its own."""
    command = ["dead-letters", *arguments]
    try:
        return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, command))
    finally:
        control_settings.cache_clear()


def at(topic: str, offset: int) -> LogPosition:
    return LogPosition(topic_id=f"id-of-{topic}", partition=0, offset=offset)


async def redrive(plane: ControlPlane, where: LogPosition) -> Redriven:
    return await Redriver(plane.db, InputCheck(plane.db, plane.lake), plane.settings, "cli:admin").redrive(where)


async def some_letters(plane: ControlPlane) -> None:
    for tenant in ("acme", "bolt"):
        await make_tenant(plane, tenant)
    shown = [record(HOSTILE, 0, "k 1"), record(b"\x00", 1), record(ask(tenant="x"), 2)]
    answers = await plane.intake([*shown, record(ask("bolt-1", tenant="x"), 3, topic=BOLT)])
    assert verdicts(answers) == ["dead"] * 4


async def test_they_are_listed_by_code_topic_and_page(plane: ControlPlane) -> None:
    await some_letters(plane)

    async def listed(*options: str) -> list[str]:
        result = await lakemill("ls", "--json", *options)
        assert result.exit_code == 0, result.output
        return [each["place"] for each in json.loads(result.stdout)]

    everything = await listed()
    assert set(everything) == {str(at(ACME, offset)) for offset in range(3)} | {str(at(BOLT, 3))}
    assert await listed("--limit", "3") == everything[:3]
    assert await listed("--limit", "3", "--after", everything[2]) == everything[3:]
    assert await listed("--topic", BOLT) == [str(at(BOLT, 3))]
    assert set(await listed("--code", "malformed_json")) == {str(at(ACME, 0)), str(at(ACME, 1))}
    assert await listed("--since", "2999-01-01") == []
    assert set(await listed("--since", "2020-01-01T00:00:00")) == set(everything)
    text = (await lakemill("ls")).stdout
    assert f"{at(ACME, 2)}  " in text
    assert "validation_failed: " not in text
    assert "tenant: extra_forbidden" in text
    assert (await lakemill("ls", "--after", "nowhere/0/1")).exit_code == 4
    assert (await lakemill("ls", "--after", "nonsense")).exit_code == 2


async def test_one_is_shown_escaped_and_its_bytes_are_to_be_had(plane: ControlPlane) -> None:
    await some_letters(plane)
    shown = await lakemill("show", str(at(ACME, 0)))
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line.startswith("reason")] == []
    assert 'value: {"a": "\\x1b[31mred\\x07\\r\\nreason: forged \\u202e\\xff"' in lines
    assert "header Idempotency-Key: k 1" in lines
    assert f"topic: {ACME}" in lines
    raw = await lakemill("show", str(at(ACME, 0)), "--raw")
    assert raw.stdout_bytes == HOSTILE
    told = json.loads((await lakemill("show", str(at(ACME, 0)), "--json")).stdout)
    assert (told["value"], told["bytes"]) == (b64encode(HOSTILE).decode(), len(HOSTILE))
    assert (await lakemill("show", str(at(ACME, 77)))).exit_code == 4


async def test_a_direct_record_is_accepted_under_its_own_key_once_the_cause_is_gone(plane: ControlPlane) -> None:
    acme = await make_tenant(plane, "acme")
    late = record(ask(action="refine", params={"day": "d"}), 4, "key-4")
    assert verdicts(await plane.intake([late])) == ["dead"]
    still = await redrive(plane, at(ACME, 4))
    assert (still.is_done, "missing_input" in still.told) == (False, True)
    plane.lake.commit(place(entity_id="acme-1"), None, tenant="acme")
    done = await redrive(plane, at(ACME, 4))
    assert (done.is_done, "is accepted" in done.told) == (True, True), done
    (row,) = await plane.rows(processes)
    (event,) = await plane.rows(process_events)
    assert (row["tenant_id"], event["actor"], event["detail"]["redriven_by"]) == ("acme", f"topic:{ACME}", "cli:admin")
    async with plane.db.transaction() as conn:
        line = (await newest(conn, 1))[0]
    assert (line["kind"], line["actor"], line["tenant_id"]) == ("dead_letter_redriven", "cli:admin", "acme")
    assert line["detail"] == {"place": str(at(ACME, 4)), "topic": ACME, "process_id": str(row["id"])}
    twice = await redrive(plane, at(ACME, 4))
    assert (twice.is_done, "redriven at" in twice.told) == (False, True)
    headers = {**acme.headers, "Idempotency-Key": "key-4"}
    again = await plane.post("/v1/processes", headers, ask(action="refine", params={"day": "d"}))
    assert again.json()["process_id"] == str(row["id"])
    assert verdicts(await plane.intake([late])) == ["duplicate"]
    assert len(await plane.rows(processes)) == 1


async def test_a_relays_record_lets_its_process_be_released_again(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    log = MemoryLog()
    assert await release_once(plane.db, log, plane.settings) == 1
    where = await _buried(plane, process_id, offset=3)
    done = await redrive(plane, where)
    assert (done.is_done, str(process_id) in done.told) == (True, True), done
    assert await release_once(plane.db, log, plane.settings) == 1
    assert (await plane.kinds(process_id)).count("resent") == 1
    second = await _buried(plane, process_id, offset=4)
    await plane.relaunched(process_id)
    told = await redrive(plane, second)
    assert (told.is_done, told.told) == (False, "the process is queued")


async def _buried(plane: ControlPlane, process_id: UUID, offset: int) -> LogPosition:
    """Put the process's record aside, as an older API does that does not know its contract yet."""
    where = LogPosition(topic_id="first-topic", partition=0, offset=offset)
    value = await plane.record_of(process_id)
    async with plane.db.transaction() as conn:
        error = DeadRecordError("wrong_version", "this side reads contract version 0")
        await bury(conn, LogRecord(topic=plane.settings.kafka_topic, position=where, value=value), error)
    return where


async def test_what_cannot_be_redriven_says_why(plane: ControlPlane) -> None:
    await make_tenant(plane, "acme", backlog=1)
    cut = {**record(b"{", 0), "truncated_from": 2_000_000}
    assert verdicts(await plane.intake([cut, record(ask(tenant="x"), 1), record(ask(), 2)])) == [
        "dead",
        "dead",
        "accepted",
    ]
    cases = {at(ACME, 0): "not all of it", at(ACME, 1): "tenant: extra_forbidden"}
    for where, words in cases.items():
        told = await redrive(plane, where)
        assert (told.is_done, words in told.told) == (False, True), told
    assert [row["redriven_at"] for row in await plane.rows(dead_letters)] == [None, None]


async def test_all_that_match_are_redriven_after_a_question(plane: ControlPlane) -> None:
    await some_letters(plane)
    early = [record(ask("bolt-1", action="refine", params={"day": "d"}), offset, topic=BOLT) for offset in (5, 6)]
    assert verdicts(await plane.intake(early)) == ["dead"] * 2
    asked = await lakemill("redrive", "--code", "missing_input")
    assert asked.exit_code == 1  # nobody answers
    assert "Redrive 2 dead letters?" in asked.output
    raw = await plane.intake([record(ask("bolt-1"), 7, topic=BOLT)])
    plane.lake.commit(place(entity_id="bolt-1"), UUID(raw[0]["reason"]), tenant="bolt")
    await plane.report(UUID(raw[0]["reason"]), "succeeded")  # so that the input is known without a lake
    result = await lakemill("redrive", "--code", "missing_input", "--yes", "--json")
    told: list[dict[str, Any]] = json.loads(result.stdout)
    # Both ask for one coordinate: the first is accepted, the second meets it.
    assert [(each["place"], each["redriven"]) for each in told] == [(str(at(BOLT, 5)), True), (str(at(BOLT, 6)), False)]
    assert (result.exit_code, "process_active" in told[1]["told"]) == (1, True)
    left = json.loads((await lakemill("ls", "--json", "--topic", BOLT)).stdout)
    assert {each["place"] for each in left} == {str(at(BOLT, 3)), str(at(BOLT, 6))}
    assert len(json.loads((await lakemill("ls", "--json", "--topic", BOLT, "--all")).stdout)) == 3
    assert (await lakemill("redrive", str(at(BOLT, 3)), "--topic", BOLT)).exit_code == 2


async def test_a_topic_that_is_direct_no_more_is_named(plane: ControlPlane) -> None:
    await some_letters(plane)
    narrower = plane.settings.model_copy(update={"direct_topics": {ACME: "acme"}})
    redriver = Redriver(plane.db, InputCheck(plane.db, plane.lake), narrower, "cli:admin")
    told = await redriver.redrive(at(BOLT, 3))
    assert (told.is_done, "LAKEMILL_DIRECT_TOPICS" in told.told) == (False, True)
