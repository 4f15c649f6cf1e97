"""What people, scripts and CI servers read: one line per check, JSON, JUnit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET

from cli.doctor.check import Check, Result, Status
from cli.doctor.running import Outcome

_NAME_WIDTH = 30


def line(check: Check, result: Result) -> str:
    """Return one line: status, name, what was found, and what to do unless all is well."""
    told = f"{result.status:<4}  {check.name:<{_NAME_WIDTH}} {result.detail}"
    return f"{told} -> {check.remedy}" if result.status in (Status.WARN, Status.FAIL) else told


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return how many ended how."""
    counts = _counts(outcomes)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    counts = _counts(outcomes)
    return {
        "counts": {status.value: counts[status] for status in Status},
        "checks": [
            {
                "name": check.name,
                "group": check.group.value,
                "status": result.status.value,
                "detail": result.detail,
                "seconds": round(result.seconds, 3),
                "question": check.question,
                "remedy": check.remedy,
            }
            for check, result in outcomes
        ],
    }


def junit(outcomes: Sequence[Outcome]) -> str:
    """Return a JUnit report: one suite per group. A warning is a test that passed and has something to say."""
    root = ET.Element("testsuites", {"name": "lakemill doctor", **_totals(outcomes)})
    for group, found in groupby(outcomes, key=lambda outcome: outcome[0].group):
        members = list(found)
        suite = ET.SubElement(root, "testsuite", {"name": group.value, **_totals(members)})
        for check, result in members:
            _case(suite, check, result)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, check: Check, result: Result) -> None:
    case = ET.SubElement(suite, "testcase", classname=check.group.value, name=check.name, time=f"{result.seconds:.3f}")
    detail = "".join(character if character.isprintable() else "\ufffd" for character in result.detail)
    match result.status:
        case Status.FAIL:
            ET.SubElement(case, "failure", message=detail).text = check.remedy
        case Status.SKIP:
            ET.SubElement(case, "skipped", message=detail)
        case Status.WARN:
            ET.SubElement(case, "system-out").text = f"warning: {detail} -> {check.remedy}"
        case Status.PASS:
            ET.SubElement(case, "system-out").text = detail


def _totals(outcomes: Iterable[Outcome]) -> dict[str, str]:
    outcomes = list(outcomes)
    counts = _counts(outcomes)
    return {
        "tests": str(len(outcomes)),
        "failures": str(counts[Status.FAIL]),
        "errors": "0",
        "skipped": str(counts[Status.SKIP]),
        "time": f"{sum(result.seconds for _, result in outcomes):.3f}",
    }


def _counts(outcomes: Iterable[Outcome]) -> Counter[Status]:
    return Counter(result.status for _, result in outcomes)
