"""The protocol in every order that two thousand examples find (docs/model.md)."""

from secrets import randbits

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import ProtocolMachine

EXAMPLES = settings(
    max_examples=2000,
    stateful_step_count=25,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def test_every_guarantee_holds_whatever_happens_in_whichever_order(pytestconfig: pytest.Config) -> None:
    asked = str(pytestconfig.getoption("--hypothesis-seed"))
    number = int(asked) if asked.isdigit() else randbits(32)
    print(f"to tell the same stories again: --hypothesis-seed={number}")
    ProtocolMachine.killed_at.clear()
    run_state_machine_as_test(seed(number)(ProtocolMachine), settings=EXAMPLES)
    print("deaths by point:", dict(sorted(ProtocolMachine.killed_at.items())))
    assert ProtocolMachine.killed_at.total() > 500, "hardly anything died"
