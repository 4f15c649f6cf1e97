"""An asset's body: what it does with a launch's members, and what it shows of a snapshot. No Spark is started."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from dagster import AssetMaterialization, DagsterInstance, ExecuteInProcessResult, materialize
from pydantic import SecretStr

from assets.checks import identifiers
from assets.declaration import Action
from assets.factory import build_asset
from assets.partitions import DATA_VERSIONS, ENTITIES, add_keys, coordinates, partition_key
from assets.registry import registry
from contracts.commit import CheckResult, Commit, DataFile, Provenance, digest
from contracts.identity import Coordinate, new_token
from contracts.intake import LAUNCH_TAG, IntakeAnswer, IntakeRequest
from contracts.messages import Profile
from contracts.reports import Catalogue, Event, LaunchMembers, Member, Report, ReportAnswer
from contracts.storage import commit_key
from resources.control_plane import AttemptSupersededError
from resources.lake.folder import FileLake
from resources.lake.store import PutOutcome
from resources.settings import ComputeSettings

ACTION = registry()["daily_delays"]


class FakeControlPlane:
    """Knows the members of every launch, and keeps what it is told."""

    def __init__(self, members: list[Member], *, refuses: bool = False) -> None:
        self.wanted = members
        self.refuses = refuses
        self.reports: list[Report] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def members(self, launch_id: UUID) -> LaunchMembers:
        self.meanwhile()
        return LaunchMembers(launch_id=launch_id, members=self.wanted)

    def report(self, report: Report) -> ReportAnswer:
        self.reports.append(report)
        if self.refuses:
            raise AttemptSupersededError("attempt_superseded")
        return ReportAnswer()

    def intake(self, request: IntakeRequest) -> IntakeAnswer:
        raise NotImplementedError

    def publish(self, catalogue: Catalogue) -> None:
        raise NotImplementedError


class NoSpark:
    """Spark must not be asked for."""

    def open(self, profile: Profile) -> Any:
        raise AssertionError(f"Spark was started for {profile}")

    def lost_executors(self) -> list[str]:
        return []

    def interruption(self) -> None:
        return None

    def executors(self) -> AbstractContextManager[bool]:
        raise AssertionError("there is no session that could have any")

    def lost_driver(self) -> str | None:
        return None

    def usage(self) -> dict[str, float]:
        return {}


def member_of(action: Action) -> Member:
    return Member(
        process_id=uuid4(),
        attempt=2,
        tenant="acme",
        action=action.name,
        entity_id="UA",
        data_version="2013-01",
        dataset=action.output,
        params={},
        inputs={},
        profile=Profile(),
    )


def publish(lake: FileLake, member: Member, checks: Sequence[CheckResult] = ()) -> Commit:
    """Let an earlier attempt of the member's process have published already."""
    provenance = Provenance(
        token=new_token(str(member.process_id), 1),
        run_id="earlier",
        process_id=member.process_id,
        attempt=1,
        tenant=member.tenant,
        action=member.action,
        action_digest=ACTION.digest,
        inputs={},
        params={},
        checks=list(checks),
    )
    commit = Commit(
        coordinate=Coordinate(member.entity_id, member.data_version, member.dataset),
        committed_at=datetime(2026, 1, 1, tzinfo=UTC),
        schema_string=ACTION.schema.to_json(),
        files=[DataFile(name="part-0.parquet", size=321, rows=7)],
        provenance=provenance,
    )
    outcome = lake.presign_commit(commit_key(commit.coordinate), 60).send(commit.encode())
    assert outcome is PutOutcome.CREATED
    return commit


@pytest.fixture
def lake(tmp_path: Path) -> FileLake:
    return FileLake(tmp_path / "lake")


def run(
    control: FakeControlPlane, lake: FileLake, tags: dict[str, str], *, is_delisted: bool = False
) -> ExecuteInProcessResult:
    """Run the asset; with ``is_delisted`` its keys leave Dagster's lists meanwhile."""
    with DagsterInstance.ephemeral() as instance:
        add_keys(instance, "UA", "2013-01")
        if is_delisted:
            control.meanwhile = lambda: delist(instance)
        return materialize(
            [build_asset(ACTION)],
            instance=instance,
            partition_key=partition_key("UA", "2013-01"),
            tags=tags,
            raise_on_error=False,
            resources={
                "settings": ComputeSettings(internal_secret=SecretStr("internal-secret-of-the-tests")),
                "control_plane": control,
                "lake": lake,
                "landing": lake,
                "spark": NoSpark(),
            },
        )


def delist(instance: DagsterInstance) -> None:
    instance.delete_dynamic_partition(DATA_VERSIONS, "2013-01")
    instance.delete_dynamic_partition(ENTITIES, "UA")


def materializations(result: ExecuteInProcessResult) -> list[AssetMaterialization]:
    return list(result.asset_materializations_for_node(f"Compute_{ACTION.name}"))


def test_a_published_member_shows_its_rows_bytes_path_and_fingerprint(lake: FileLake) -> None:
    member = member_of(ACTION)
    commit = publish(lake, member)
    control = FakeControlPlane([member])
    result = run(control, lake, {LAUNCH_TAG: str(uuid4())})
    assert result.success
    (shown,) = materializations(result)
    facts = {name: value.value for name, value in shown.metadata.items()}
    assert (facts["rows"], facts["bytes"], facts["files"]) == (7, 321, 1)
    assert facts["path"] == lake.url("UA/2013-01/daily_delays")
    assert facts["commit_digest"] == digest(commit.encode())
    assert facts["token"] == commit.provenance.token
    assert shown.partition == "2013-01|UA"
    assert [report.event for report in control.reports] == [Event.STARTED, Event.SUCCEEDED]


def test_the_checks_of_a_snapshot_are_dagsters_asset_checks(lake: FileLake) -> None:
    member = member_of(ACTION)
    results = [
        CheckResult(name=str(check), passed=True, measured=f"measured {place}")
        for place, check in enumerate(ACTION.checks)
    ]
    publish(lake, member, [*results, CheckResult(name="promised(earlier)", passed=True, measured="")])
    result = run(FakeControlPlane([member]), lake, {LAUNCH_TAG: str(uuid4())})
    assert result.success
    shown = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert list(shown) == identifiers(ACTION.checks)
    assert all(each.passed and each.asset_key.to_user_string() == ACTION.output for each in shown.values())
    assert shown["unique_flight_date_carrier"].metadata["measured"].value == "measured 1"
    assert shown["at_least_rows_1"].metadata["partition"].value == "2013-01|UA"


def test_a_run_whose_partition_is_delisted_meanwhile_ends_well(lake: FileLake) -> None:
    member = member_of(ACTION)
    publish(lake, member)
    result = run(FakeControlPlane([member]), lake, {LAUNCH_TAG: str(uuid4())}, is_delisted=True)
    assert result.success
    assert [shown.partition for shown in materializations(result)] == ["2013-01|UA"]


def test_a_launch_that_nobody_wants_any_more_ends_quietly(lake: FileLake) -> None:
    result = run(FakeControlPlane([]), lake, {LAUNCH_TAG: str(uuid4())})
    assert result.success
    assert materializations(result) == []


def test_a_superseded_attempt_computes_nothing_and_is_no_failure(lake: FileLake) -> None:
    control = FakeControlPlane([member_of(ACTION)], refuses=True)
    result = run(control, lake, {LAUNCH_TAG: str(uuid4())})
    assert result.success
    assert materializations(result) == []
    assert [report.event for report in control.reports] == [Event.STARTED]


def test_a_failed_attempt_fails_the_run_after_it_was_reported(lake: FileLake) -> None:
    control = FakeControlPlane([member_of(ACTION)])
    result = run(control, lake, {LAUNCH_TAG: str(uuid4())})
    assert not result.success
    assert control.reports[-1].event is Event.FAILED
    assert control.reports[-1].reason is not None
    assert control.reports[-1].reason.code == "input_missing"


def test_an_operators_run_has_no_process_and_says_what_is_missing(lake: FileLake) -> None:
    control = FakeControlPlane([])
    result = run(control, lake, {})
    assert not result.success
    assert control.reports == []


def test_partition_keys_are_ids_and_come_back() -> None:
    assert coordinates(partition_key("cust_1", "v2024.10.05")) == ("cust_1", "v2024.10.05")
    for hostile in ("a|b", "a...b", "", "../x", "a b"):
        with pytest.raises(ValueError, match="must"):
            partition_key(hostile, "v1")
