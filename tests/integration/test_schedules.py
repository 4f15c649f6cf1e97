"""Schedules under Dagster's real scheduler: one backfill for each time, whatever is killed, away or missed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from dagster import DagsterInstance
from dagster._core.scheduler.instigation import TickStatus
from pydantic import SecretStr

from assets.profiles import load_profiles
from assets.publish import catalogue
from assets.registry import registry
from deploy.local.site import ROOT
from resources.backfills import HttpBackfills
from resources.control_plane import HttpControlPlane
from resources.settings import ComputeSettings, ControlSettings
from tests.integration.live_api import live_api
from tests.integration.schedule_location import NIGHTLY, WORLD, dagster, round_at, schedule_state, ticks
from tests.integration.schedule_ticks import DAY, FIRST, MINUTE, dry_run, remote_schedule, tick_at, tick_twice

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh_world() -> None:
    WORLD.reset()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """An instance whose daemon has met the schedule at ``START``."""
    with dagster(tmp_path) as found:
        round_at(found, START)
        yield found


def test_a_tick_asks_for_the_backfill_of_its_time_and_starts_no_run(instance: DagsterInstance) -> None:
    tick = tick_at(instance, FIRST)
    ((place, request),) = WORLD.fake.made.items()
    assert place == ("default", "schedule:nightly:2026-11-21T01:30:00Z")
    assert (request.action, request.data_version, request.priority) == ("aggregate_revenue", "v2026.11.21", 3)
    assert request.select.entities == ["shop-1", "shop-2"]
    assert (tick.status, tick.timestamp) == (TickStatus.SKIPPED, FIRST.timestamp())
    assert tick.skip_reason is not None
    assert tick.skip_reason.endswith("of 120 entities at v2026.11.21")
    assert instance.get_runs() == []


def test_a_done_tick_is_not_done_again(instance: DagsterInstance) -> None:
    tick_at(instance, FIRST)
    tick_at(instance, FIRST + MINUTE)
    assert (len(ticks(instance)), WORLD.fake.calls) == (1, 1)


@pytest.mark.parametrize("point", ["TICK_CREATED", "TICK_HELD"])
def test_a_daemon_killed_in_a_tick_makes_its_backfill_after_the_restart(tmp_path: Path, point: str) -> None:
    with dagster(tmp_path) as instance:
        round_at(instance, START)
    now = FIRST + MINUTE
    command = [sys.executable, "-m", "tests.integration.schedule_location", str(tmp_path), now.isoformat(), point]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    with dagster(tmp_path) as instance:
        assert tick_at(instance, FIRST + MINUTE).status is TickStatus.SKIPPED
        assert [tick.timestamp for tick in ticks(instance)] == [FIRST.timestamp()]
    assert WORLD.fake.versions == ["v2026.11.21"]


def test_a_tick_that_was_done_but_not_noted_makes_no_second_backfill(instance: DagsterInstance) -> None:
    tick, again = tick_twice(instance)
    assert again.skip_reason == f"{tick.skip_reason}, made before"
    assert (WORLD.fake.versions, WORLD.fake.calls) == (["v2026.11.21"], 2)


def test_while_the_api_is_away_the_tick_fails_visibly_and_a_later_minute_makes_it(instance: DagsterInstance) -> None:
    WORLD.fake.away = True
    for minute in range(3):
        failed = tick_at(instance, FIRST + minute * MINUTE)
        assert failed.status is TickStatus.FAILURE
        assert failed.error is not None
        assert "BackfillsUnavailableError" in failed.error.to_string()
    WORLD.fake.away = False
    assert tick_at(instance, FIRST + 3 * MINUTE).status is TickStatus.SKIPPED
    assert len(ticks(instance)) == 1
    assert WORLD.fake.versions == ["v2026.11.21"]


def test_an_outage_over_several_ticks_loses_none(instance: DagsterInstance) -> None:
    WORLD.fake.away = True
    for day in range(3):
        assert tick_at(instance, FIRST + day * DAY).status is TickStatus.FAILURE
    WORLD.fake.away = False
    tick_at(instance, FIRST + 2 * DAY + MINUTE)
    assert WORLD.fake.versions == ["v2026.11.21", "v2026.11.22", "v2026.11.23"]


def test_times_that_a_daemon_has_missed_are_made_oldest_first(instance: DagsterInstance) -> None:
    tick_at(instance, FIRST)
    tick_at(instance, FIRST + 4 * DAY)
    assert WORLD.fake.versions == [f"v2026.11.{day}" for day in range(21, 26)]
    assert len(ticks(instance)) == 2


def test_of_very_many_missed_times_the_newest_ten_are_made(instance: DagsterInstance) -> None:
    tick_at(instance, FIRST)
    tick_at(instance, FIRST + 30 * DAY)
    assert WORLD.fake.versions == ["v2026.11.21", *(f"v2026.12.{day}" for day in range(12, 22))]


def test_a_schedule_makes_nothing_of_before_it_was_met(instance: DagsterInstance) -> None:
    round_at(instance, START + 30 * MINUTE)
    assert (ticks(instance), WORLD.fake.calls) == ([], 0)


def test_what_passed_while_an_operator_had_it_stopped_is_not_made(instance: DagsterInstance) -> None:
    tick_at(instance, FIRST)
    state = schedule_state(instance)
    instance.stop_schedule(state.instigator_origin_id, state.selector_id, remote_schedule(instance))
    tick_at(instance, FIRST + DAY)
    instance.start_schedule(remote_schedule(instance))
    now = datetime.now(UTC)  # Dagster notes by its own clock when it was started
    tick_at(instance, now + DAY)
    assert WORLD.fake.versions == ["v2026.11.21", ticks_version(instance)]


def ticks_version(instance: DagsterInstance) -> str:
    newest = datetime.fromtimestamp(ticks(instance)[0].timestamp, UTC)
    return NIGHTLY.request_at(newest).data_version


def test_a_refusal_fails_the_tick_in_words_and_keeps_no_other_time_from_its_backfill(
    instance: DagsterInstance,
) -> None:
    WORLD.fake.refuses = {"v2026.11.22"}
    failed = tick_at(instance, FIRST + 2 * DAY)
    assert failed.error is not None
    assert "schedule nightly: 2026-11-22T01:30Z: 422 unknown_action" in failed.error.to_string()
    assert WORLD.fake.versions == ["v2026.11.21", "v2026.11.23"]
    WORLD.fake.refuses = set()
    assert tick_at(instance, FIRST + 2 * DAY + MINUTE).status is TickStatus.SKIPPED
    assert sorted(WORLD.fake.versions) == ["v2026.11.21", "v2026.11.22", "v2026.11.23"]


def test_a_time_whose_backfill_an_older_file_has_made_is_done(instance: DagsterInstance) -> None:
    older = NIGHTLY.model_copy(update={"priority": 0})
    WORLD.fake.create("default", older.request_at(FIRST))
    tick = tick_at(instance, FIRST)
    assert tick.skip_reason == "a backfill of another request was made before for 2026-11-21T01:30Z"


def test_a_test_in_the_ui_only_previews(instance: DagsterInstance) -> None:
    tick_at(instance, FIRST)
    found = dry_run(instance, FIRST + DAY)
    assert found["skipReason"] == "only a test: would be of 120 entities at v2026.11.22, 3 published"
    assert dry_run(instance, FIRST)["skipReason"].startswith("only a test")
    assert (WORLD.fake.versions, len(WORLD.fake.previewed)) == (["v2026.11.21"], 2)


class TestRealApi:
    """The whole way: Dagster's scheduler, HTTP, the API, PostgreSQL."""

    @pytest.fixture
    def api(self, settings: ControlSettings) -> Iterator[tuple[str, str]]:
        with live_api(settings) as (url, key):
            HttpControlPlane(self.compute(url, settings, key)).publish(catalogue(registry(), load_profiles()))
            WORLD.backfills = HttpBackfills(self.compute(url, settings, key), patience=5)
            yield url, key

    def compute(self, url: str, settings: ControlSettings, key: str) -> ComputeSettings:
        keys = {"default": SecretStr(key)}
        return ComputeSettings(api_url=url, internal_secret=settings.internal_secret, schedule_keys=keys)

    def backfills(self, api: tuple[str, str]) -> list[dict[str, Any]]:
        url, key = api
        page = httpx.get(f"{url}/v1/backfills", headers={"Authorization": f"Bearer {key}"}).json()
        found: list[dict[str, Any]] = page["backfills"]
        return found

    def test_one_backfill_for_each_time(self, instance: DagsterInstance, api: tuple[str, str]) -> None:
        tick, again = tick_twice(instance)
        (made,) = self.backfills(api)
        assert (made["action"], made["data_version"], made["entities"]) == ("aggregate_revenue", "v2026.11.21", 2)
        assert tick.skip_reason == f"backfill {made['backfill_id']} of 2 entities at v2026.11.21"
        assert again.skip_reason == f"{tick.skip_reason}, made before"
        assert dry_run(instance, FIRST + DAY)["skipReason"].startswith("only a test: would be of 2 entities")
        assert len(self.backfills(api)) == 1

    def test_a_key_that_is_not_valid_shows_nowhere(
        self, instance: DagsterInstance, api: tuple[str, str], settings: ControlSettings
    ) -> None:
        wrong = "lm_000000000000_canary-key-that-must-not-be-shown-anywhere"
        WORLD.backfills = HttpBackfills(self.compute(api[0], settings, wrong), patience=1)
        failed = tick_at(instance, FIRST)
        assert failed.error is not None
        assert "401 unauthorized" in failed.error.to_string()
        assert "canary" not in failed.error.to_string()
        assert self.backfills(api) == []
