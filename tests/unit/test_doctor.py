"""The doctor itself: what it prints, its exit codes, what it never prints, and that every check can fail."""

from importlib import import_module
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.doctor import checklist, report
from cli.doctor.check import Check, Group, Result, Status, failed, passed, skipped, warned
from cli.doctor.checks import ALL
from cli.doctor.running import run_checks
from cli.doctor.site import NotConfiguredError, Options, Site
from cli.main import app
from contracts.problems import LakemillError
from resources.settings import ControlSettings, KafkaSettings, LakeSettings
from tests.doctor import ask, proven, proves
from tests.fake_cluster import FakeCluster, site
from tests.test_architecture import ROOT


def check(run: Any, name: str = "kafka.made_up") -> Check:
    return Check(name, Group(name.partition(".")[0]), "Is it so?", "Make it so.", run)


def run_one(run: Any, *, wanted: bool = False, site: Site | None = None) -> Result:
    one = check(run)
    ((_, result),) = run_checks(site or Site(Options()), [one], {one.group} if wanted else ())
    return result


def raising(error: Exception) -> Any:
    def run(_site: Site) -> Result:
        raise error

    return run


def test_names_are_stable_and_every_check_says_what_to_do() -> None:
    assert len({check.name for check in ALL}) == len(ALL)
    for each in ALL:
        group, _, what = each.name.partition(".")
        assert (group, what.isidentifier()) == (each.group.value, True), each.name
        assert each.question.rstrip(")").endswith(("?", ".")), each.name
        assert each.remedy.endswith("."), each.name
        assert "\n" not in each.question + each.remedy
    assert {each.group for each in ALL} == set(Group)


def test_every_check_is_proven_able_to_fail_without_a_cluster() -> None:
    for place in ("unit", "integration"):
        for file in sorted((ROOT / "tests" / place).glob("test_doctor_*.py")):
            import_module(f"tests.{place}.{file.stem}")
    assert {check.name for check in ALL} == proven()


@pytest.mark.parametrize(
    ("name", "status"), [("cluster.reachable", Status.PASS), ("cluster.no_more_rights", Status.SKIP)]
)
def test_a_proof_that_sees_no_failure_fails(name: str, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.doctor.PROOFS", [])
    cluster = FakeCluster(me="system:serviceaccount:mill:lakemill-code")

    @proves(name)
    def proof() -> None:
        assert ask(site(cluster), name).status is status

    with pytest.raises(AssertionError, match=f"never saw {name} fail or warn"):
        proof()


def test_the_checklist_has_not_drifted() -> None:
    assert checklist.FILE.read_text() == checklist.rendered(), "run 'python -m cli.doctor.checklist' and commit it"


def test_an_error_is_a_fail_in_its_own_words() -> None:
    found = run_one(raising(LakemillError("no broker")))
    assert (found.status, found.detail) == (Status.FAIL, "no broker")


def passed_now(_site: Site) -> Result:
    return passed("fine")


def test_a_check_that_breaks_says_so_and_hides_no_other() -> None:
    checks = [check(raising(ZeroDivisionError("by zero")), "kafka.first"), check(passed_now, "kafka.second")]
    first, second = (result for _, result in run_checks(Site(Options()), checks))
    assert (first.status, first.detail) == (Status.FAIL, "this check itself broke: ZeroDivisionError: by zero")
    assert second.status is Status.PASS


@pytest.mark.parametrize(("wanted", "status"), [(False, Status.SKIP), (True, Status.FAIL)])
def test_what_is_not_configured_is_skipped_unless_asked_for(wanted: bool, status: Status) -> None:
    assert run_one(raising(NotConfiguredError("no Kafka here")), wanted=wanted).status is status


def test_secrets_are_never_printed() -> None:
    url = "postgresql+asyncpg://mill:s3cr%2Ft@db/mill"
    site = Site(
        Options(),
        lake=LakeSettings(s3_secret_key=SecretStr("canary-key")),
        kafka=KafkaSettings.model_construct(kafka_sasl_password=SecretStr("canary-sasl")),
        control=ControlSettings(database_url=SecretStr(url), internal_secret=SecretStr("internal-secret-of-the-tests")),
    )
    said = f"canary-key, canary-sasl, {url}, s3cr%2Ft, s3cr/t"
    assert run_one(raising(LakemillError(said)), site=site).detail == "***, ***, ***, ***, ***"


def test_one_line_per_check() -> None:
    outcomes = [
        (check(passed_now, "kafka.a"), Result(Status.PASS, "fine", 0.1)),
        (check(passed_now, "kafka.b"), Result(Status.WARN, "thin", 0.1)),
        (check(passed_now, "kafka.c"), Result(Status.FAIL, "gone", 0.1)),
        (check(passed_now, "kafka.d"), Result(Status.SKIP, "absent", 0.1)),
    ]
    told = [report.line(*outcome).split(maxsplit=2) for outcome in outcomes]
    assert told == [
        ["pass", "kafka.a", "fine"],
        ["warn", "kafka.b", "thin -> Make it so."],
        ["fail", "kafka.c", "gone -> Make it so."],
        ["skip", "kafka.d", "absent"],
    ]
    assert report.summary(outcomes) == "1 pass, 1 warn, 1 fail, 1 skip"
    assert report.document(outcomes)["counts"] == {"pass": 1, "warn": 1, "fail": 1, "skip": 1}
    suite = ET.fromstring(report.junit(outcomes)).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    assert [case.find("failure") is not None for case in suite] == [False, False, True, False]


def test_a_report_stays_xml_whatever_a_server_says() -> None:
    outcome = (check(passed_now), failed("\x00\x1b[31m<b>&\ud800"))
    (case,) = ET.fromstring(report.junit([outcome])).iter("testcase")  # noqa: S314 - our own
    assert "<b>&" in case[0].get("message", "")


def test_a_result_is_one_line() -> None:
    assert run_one(lambda _: warned("two\nlines")).detail == "two lines"
    assert run_one(lambda _: skipped("x")).seconds >= 0


def test_a_group_that_does_not_exist_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["doctor", "--only", "moon"]).exit_code == 2
