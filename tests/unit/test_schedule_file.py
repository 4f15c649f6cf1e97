"""The schedules file: what it may say, what is refused in which words, and the code location made of it."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInvalidDefinitionError, DefaultScheduleStatus, Definitions
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.profiles import load_images, load_profiles
from assets.registry import registry
from orchestration.definitions import build
from orchestration.schedule_file import SCHEDULES_FILE, Schedule, SchedulesError, load_schedules
from orchestration.spark import spark
from resources.dagster.resources import RESOURCES

ROOT = Path(__file__).parent.parent.parent
GOOD = """
[nightly]
cron = "30 2 * * *"
timezone = "Europe/Berlin"
action = "aggregate_revenue"
data_version = "v%Y.%m.%d"
select = { with_inputs = true }
"""


def load(tmp_path: Path, text: str) -> list[Schedule]:
    path = tmp_path / "schedules.toml"
    path.write_text(text)
    return load_schedules(registry().digests(), path)


def location(schedules: list[Schedule]) -> Definitions:
    return build(registry(), {**RESOURCES, "spark": spark}, load_profiles(), load_images(), schedules)


def test_a_short_table_asks_with_the_api_s_own_defaults(tmp_path: Path) -> None:
    (schedule,) = load(tmp_path, GOOD)
    request = schedule.request_at(datetime(2026, 11, 26, 1, 30, tzinfo=UTC))
    assert request.model_dump(exclude_defaults=True, mode="json") == {
        "action": "aggregate_revenue",
        "data_version": "v2026.11.26",
        "select": {"with_inputs": True},
        "idempotency_key": "schedule:nightly:2026-11-26T01:30:00Z",
    }
    assert (schedule.tenant, schedule.running) == ("default", True)


def test_everything_that_a_table_may_say_is_asked_for(tmp_path: Path) -> None:
    more = """
    tenant = "acme"
    params = { since = 1992-01-01 }
    resource_profile = { driver_cores = 2 }
    callback_url = "https://example.com/hook"
    priority = 4
    deadline_seconds = 3600
    running = false
    """
    (schedule,) = load(tmp_path, GOOD + more)
    request = schedule.request_at(datetime(2026, 11, 26, tzinfo=UTC))
    shown = request.model_dump(mode="json", exclude_defaults=True)
    assert shown["params"] == {"since": "1992-01-01"}
    assert shown["resource_profile"] == {"driver_cores": 2}
    assert (request.callback_url, request.priority, request.deadline_seconds) == ("https://example.com/hook", 4, 3600)
    assert (schedule.tenant, schedule.running) == ("acme", False)


@pytest.mark.parametrize(
    ("moment", "version", "key"),
    [
        (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), "v2026.03.29", "2026-03-28T23:30:00Z"),
        (datetime(2026, 3, 29, 22, 30, tzinfo=UTC), "v2026.03.30", "2026-03-29T22:30:00Z"),  # one hour less in between
    ],
)
def test_the_version_is_of_the_schedule_s_own_day_and_the_key_of_the_one_moment(
    tmp_path: Path, moment: datetime, version: str, key: str
) -> None:
    (schedule,) = load(tmp_path, GOOD)
    request = schedule.request_at(moment)
    assert (request.data_version, request.idempotency_key) == (version, f"schedule:nightly:{key}")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"30 2 * * *"', '"30 2 * *"', "schedule nightly: cron: '30 2 * *' is no cron expression of five fields"),
        ('"30 2 * * *"', '"61 2 * * *"', "schedule nightly: cron: '61 2 * * *' is no cron expression"),
        ('"30 2 * * *"', "2", "schedule nightly: cron: Input should be a valid string"),
        ("Europe/Berlin", "Mars/Base", "schedule nightly: timezone: 'Mars/Base' is no time zone"),
        ("Europe/Berlin", "../etc/passwd", "schedule nightly: timezone: '../etc/passwd' is no time zone"),
        ("aggregate_revenue", "paint", "schedule nightly: action: 'paint' is none of aggregate_revenue, "),
        ("v%Y.%m.%d", "v%Y/%m", "schedule nightly: data_version: 'v%Y/%m' gives 'v2024/01' at 2024-01-01"),
        ("v%Y.%m.%d", "v%Y.%m.%e", "schedule nightly: data_version: 'v%Y.%m.%e' gives 'v2024.01. 1'"),
        ("v%Y.%m.%d", "", "schedule nightly: data_version: '' gives ''"),
        ("with_inputs = true", "", "schedule nightly: select: give exactly one: entities, a pattern, or with_inputs"),
        ("with_inputs = true", 'entities = ["a/b"]', "schedule nightly: select.entities.0: must be 1 to 128 ASCII"),
        ("action =", "acton =", "schedule nightly: acton: there is no such field"),
        ("action =", "acton =", "schedule nightly: action: is required"),
        ("select =", "priority = 11\nselect =", "schedule nightly: priority: Input should be less than or equal to 10"),
        ("select =", 'name = "x"\nselect =', "schedule nightly: name: is the table's own"),
        ("[nightly]", "[Nightly]", "schedule Nightly: name: must be 1 to 63 lower-case letters"),
        ("\n[nightly]", "\nnightly = 3\n[other]", "schedule nightly: must be a table: begin it with [name]"),
        ("[nightly]", "[nightly", "Expected ']'"),
    ],
)
def test_what_is_wrong_is_named_by_file_schedule_field_and_rule(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(SchedulesError) as refused:
        load(tmp_path, GOOD.replace(old, new))
    assert str(refused.value).startswith(str(tmp_path / "schedules.toml"))
    assert told in str(refused.value)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchedulesError, match=r"Cannot declare \('nightly',\) twice \(at line 9"):
        load(tmp_path, GOOD + GOOD)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    other = GOOD.replace("nightly", "weekly").replace("Europe/Berlin", "Nowhere")
    with pytest.raises(SchedulesError, match=r"schedule nightly: action.*; schedule weekly: timezone"):
        load(tmp_path, GOOD.replace("aggregate_revenue", "paint") + other)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SchedulesError, match=r"absent\.toml: No such file"):
        load_schedules([], tmp_path / "absent.toml")


def test_they_are_dagster_schedules_of_their_action_s_job(tmp_path: Path) -> None:
    off = GOOD.replace("nightly", "off") + "running = false\n"
    defs = location(load(tmp_path, GOOD + off))
    Definitions.validate_loadable(defs)
    found: dict[str, Any] = {each.name: each for each in defs.schedules or ()}
    nightly = found["nightly"]
    assert isinstance(nightly.job, UnresolvedAssetJobDefinition)
    assert (nightly.cron_schedule, nightly.execution_timezone) == ("30 2 * * *", "Europe/Berlin")
    assert nightly.job.name == "aggregate_revenue"
    assert nightly.default_status is DefaultScheduleStatus.RUNNING
    assert found["off"].default_status is DefaultScheduleStatus.STOPPED


def test_a_schedule_may_be_named_like_an_action_and_not_like_a_sensor(tmp_path: Path) -> None:
    Definitions.validate_loadable(location(load(tmp_path, GOOD.replace("nightly", "aggregate_revenue"))))
    with pytest.raises(DagsterInvalidDefinitionError, match="Duplicate definition found for process_requests"):
        Definitions.validate_loadable(location(load(tmp_path, GOOD.replace("nightly", "process_requests"))))


def test_a_broken_file_fails_the_load_of_the_code_location_in_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "schedules.toml"
    broken.write_text(GOOD.replace("30 2", "62 2"))
    code = f"""
from pathlib import Path
import orchestration.schedule_file as file
file.load_schedules.__defaults__ = (Path({str(broken)!r}),)
import orchestration.definitions
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"orchestration.schedule_file.SchedulesError: {broken}: schedule nightly: cron: '62 2 * * *'"
    )


def test_the_file_of_the_repository_is_an_example_without_a_schedule(tmp_path: Path) -> None:
    assert load_schedules([]) == []
    text = SCHEDULES_FILE.read_text()
    example = "\n".join(line.removeprefix("# ") for line in text.splitlines()[2:])
    (schedule,) = load(tmp_path, example)
    assert schedule.name == "nightly_revenue"


def test_the_examples_of_the_documentation_load(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "backfills.md").read_text(), re.DOTALL)
    assert [schedule.name for schedule in load(tmp_path, example)] == ["nightly_revenue", "hourly_flights"]


def test_the_embedded_dagster_tries_a_failed_tick_again_as_long_as_the_chart_s() -> None:
    stated = yaml.safe_load((ROOT / "deploy" / "local" / "dagster.yaml").read_text())
    chart = (ROOT / "deploy" / "chart" / "templates" / "_dagster.tpl").read_text()
    retries = stated["scheduler"]["config"]["max_tick_retries"]
    assert retries >= 60 * 24 * 31, "a monthly schedule is tried until its next time"
    assert f"config: {{max_tick_retries: {retries}}}" in chart
