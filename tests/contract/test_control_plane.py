"""One behaviour for the control plane, whatever it is made of: the fakes, and the real API over HTTP."""

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from api.app import create_app
from contracts.cursor import Cursor
from contracts.identity import new_token
from contracts.intake import IntakeRequest, LogPosition, LogRecord, Verdict
from contracts.reports import Catalogue, Event, Member, Report
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.snapshots import coordinate_of
from control.tables import actions
from control.tenancy import keys
from resources.control_plane import (
    AttemptSupersededError,
    ControlPlane,
    HttpControlPlane,
    PermitHeldError,
    VersionRetiredError,
)
from resources.database import Database
from resources.settings import ControlSettings, PlaneLinkSettings
from tests import control_plane, fake_intake
from tests.integration.control_plane import CATALOGUE, PROFILE, SUBMIT, TOPIC, TOPIC_ID
from tests.integration.control_plane import ControlPlane as Api
from tests.integration.memory_lake import DIGEST, MemoryLake
from tests.integration.postgres import free_port

pytestmark = pytest.mark.anyio


class World(Protocol):
    """The port as runs and as the sensor hold it, and what can happen behind it."""

    @property
    def plane(self) -> ControlPlane: ...
    @property
    def sensed(self) -> ControlPlane: ...
    async def actions(self) -> set[str]: ...
    async def launchable(self, entity_id: str) -> bytes: ...
    async def launch(self) -> tuple[UUID, UUID]:
        """Return a launch and the process whose first attempt it computes."""

    async def supersede(self, process_id: UUID) -> None: ...
    async def hold_permit(self, process_id: UUID) -> None:
        """Let the first attempt hold the permit, while the second one runs."""

    async def retire(self, process_id: UUID) -> None:
        """Let the process run at a coordinate that was retired, as only a restored database makes possible."""


class FakeWorld:
    def __init__(self) -> None:
        self.plane = control_plane.FakeControlPlane()
        self.sensed = fake_intake.FakeControlPlane()

    async def actions(self) -> set[str]:
        return {action.name for action in self.plane.catalogues[-1].actions}

    async def launchable(self, entity_id: str) -> bytes:
        return fake_intake.launch_value(uuid4(), entity=entity_id)

    async def launch(self) -> tuple[UUID, UUID]:
        process_id = uuid4()
        more = {"attempt": 1, "tenant": "default", "dataset": "raw", "params": {}, "inputs": {}, "profile": PROFILE}
        member = Member.model_validate({**SUBMIT, **more, "process_id": process_id})
        self.plane = control_plane.FakeControlPlane(member)
        return uuid4(), process_id

    async def supersede(self, process_id: UUID) -> None:
        self.plane = control_plane.FakeControlPlane()
        self.plane.refuse(Event.STARTED, AttemptSupersededError(f"attempt 2 of {process_id} is current"))

    async def hold_permit(self, process_id: UUID) -> None:
        self.plane.refuse(Event.COMMITTING, PermitHeldError(f"attempt 1 of {process_id} may commit", retry_after=9.0))

    async def retire(self, process_id: UUID) -> None:
        self.plane.refuse(Event.COMMITTING, VersionRetiredError(f"the coordinate of {process_id} was retired"))


class HttpWorld:
    def __init__(self, api: Api) -> None:
        link = PlaneLinkSettings(api_url=str(api.http.base_url), internal_secret=api.settings.internal_secret)
        self.plane = self.sensed = HttpControlPlane(link, patience=5.0)
        self._api = api

    async def actions(self) -> set[str]:
        rows = await self._api.rows(select(actions).where(actions.c.is_published == 1))
        return {row["name"] for row in rows}

    async def launchable(self, entity_id: str) -> bytes:
        return await self._api.record_of(await self._api.accepted(entity_id=entity_id))

    async def launch(self) -> tuple[UUID, UUID]:
        process_id, launch_id = await self._api.launched()
        return UUID(launch_id), process_id

    async def supersede(self, process_id: UUID) -> None:
        assert (await self._api.failed(process_id)).status_code == 200

    async def hold_permit(self, process_id: UUID) -> None:
        self.plane.report(report(Event.STARTED, process_id))
        self.plane.report(committing(process_id))
        await self.supersede(process_id)
        await self._api.relaunched(process_id)
        self.plane.report(report(Event.STARTED, process_id, attempt=2))

    async def retire(self, process_id: UUID) -> None:
        self.plane.report(report(Event.STARTED, process_id))
        await self._api.retire(coordinate_of(await self._api.process(process_id)))


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve from a thread; yield the address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            thread.join(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
async def http_world(db: Database, settings: ControlSettings, lake: MemoryLake) -> AsyncIterator[HttpWorld]:
    async with db.transaction() as conn:
        key = (await keys.create(conn, DEFAULT_TENANT, list(Scope))).get_secret_value()
    with serving(create_app(settings=settings, lake=lake)) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            world = HttpWorld(Api(http, db, lake, settings, key))
            world.plane.publish(Catalogue.model_validate(CATALOGUE))
            yield world


@pytest.fixture(params=["fake", "http"])
def world(request: pytest.FixtureRequest) -> World:
    return FakeWorld() if request.param == "fake" else request.getfixturevalue("http_world")


def report(event: Event, process_id: UUID, attempt: int = 1, **fields: Any) -> Report:
    run = {"at": datetime.now(UTC), "run_id": f"run-{attempt}", "attempt": attempt}
    return Report.model_validate({**run, "event": event, "process_id": process_id, **fields})


def committing(process_id: UUID, attempt: int = 1) -> Report:
    expires_at = datetime.now(UTC) + timedelta(seconds=60)
    token = new_token(str(process_id), attempt)
    return report(Event.COMMITTING, process_id, attempt, token=token, commit_expires_at=expires_at)


async def test_a_catalogue_replaces_the_one_before(world: World) -> None:
    world.plane.publish(catalogue := Catalogue.model_validate(CATALOGUE))
    assert await world.actions() == {"ingest", "refine"}
    world.plane.publish(catalogue.model_copy(update={"actions": catalogue.actions[:1]}))
    assert await world.actions() == {"ingest"}


async def test_the_members_of_a_launch_are_the_wanted_attempts(world: World) -> None:
    launch_id, process_id = await world.launch()
    (member,) = world.plane.members(launch_id).members
    assert (member.process_id, member.attempt) == (process_id, 1)
    assert {name: getattr(member, name) for name in SUBMIT} == SUBMIT
    await world.supersede(process_id)
    assert world.plane.members(launch_id).members == []


async def test_a_report_that_comes_twice_is_answered_alike(world: World) -> None:
    _, process_id = await world.launch()
    started = report(Event.STARTED, process_id)
    answer = world.plane.report(started)
    assert (answer.accepted, answer.permit_until) == (True, None)
    assert world.plane.report(started) == answer


async def test_an_attempt_that_is_not_wanted_may_not_start(world: World) -> None:
    _, process_id = await world.launch()
    await world.supersede(process_id)
    with pytest.raises(AttemptSupersededError):
        world.plane.report(report(Event.STARTED, process_id))


async def test_a_permit_that_another_token_holds_says_when_to_ask_again(world: World) -> None:
    _, process_id = await world.launch()
    await world.hold_permit(process_id)
    with pytest.raises(PermitHeldError) as held:
        world.plane.report(committing(process_id, attempt=2))
    assert held.value.retry_after > 0


async def test_there_is_no_permit_for_a_retired_coordinate(world: World) -> None:
    _, process_id = await world.launch()
    await world.retire(process_id)
    with pytest.raises(VersionRetiredError, match="retired"):
        world.plane.report(committing(process_id))


async def test_intake_answers_each_record_in_its_order_and_again_alike(world: World) -> None:
    values = [b"not a record", await world.launchable("one"), None, await world.launchable("two")]
    places = [LogPosition(topic_id=TOPIC_ID, partition=0, offset=offset) for offset in (3, 1, 2, 7)]
    records = [LogRecord(topic=TOPIC, position=at, value=value) for at, value in zip(places, values, strict=True)]
    request = IntakeRequest(persisted=Cursor(), actions={"ingest": DIGEST}, records=records)
    answers = world.sensed.intake(request).answers
    assert [answer.position for answer in answers] == places
    assert [answer.verdict for answer in answers] == [Verdict.DEAD, Verdict.LAUNCH] * 2
    assert [answer.launch and answer.launch.entity_id for answer in answers] == [None, "one", None, "two"]
    assert world.sensed.intake(request).answers == answers
