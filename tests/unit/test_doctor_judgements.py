"""The judgement of what PostgreSQL tells, without PostgreSQL."""

import pytest

from cli.doctor.check import Status
from cli.doctor.postgres import server_result, tls_result


@pytest.mark.parametrize(
    ("number", "is_standby", "status"),
    [
        (180001, False, Status.PASS),
        (140000, False, Status.PASS),
        (130020, False, Status.FAIL),
        (180001, True, Status.FAIL),
    ],
)
def test_an_old_server_and_a_standby_fail(number: int, is_standby: bool, status: Status) -> None:
    assert server_result(number, "x", is_standby=is_standby).status is status


@pytest.mark.parametrize(
    ("version", "mode", "status"),
    [
        (None, "prefer", Status.WARN),
        ("TLSv1.3", "require", Status.WARN),
        ("TLSv1.3", "verify-full", Status.PASS),
    ],
)
def test_a_connection_that_others_can_read_or_take_over_is_a_warning(
    version: str | None, mode: str, status: Status
) -> None:
    assert tls_result(version, mode).status is status
