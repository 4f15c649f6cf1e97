"""When a host is left alone, for how long, and what brings it back."""

import pytest

from control.callbacks.breaker import FAILURES, FIRST_REST_SECONDS, LONGEST_REST_SECONDS, Breakers
from control.callbacks.places import Receiver
from resources.callbacks.sender import Outcome, SendError

A, B = Receiver("a", "shared.example"), Receiver("b", "shared.example")
USUAL = 16
DEAD, ALIVE = Outcome(error=SendError.CONNECT), Outcome(status=500)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_takes_failures_in_a_row() -> None:
    breakers = Breakers(Clock())
    for _ in range(FAILURES - 1):
        breakers.note(A, DEAD)
    breakers.note(A, ALIVE)  # an answer, if no good one
    for _ in range(FAILURES - 1):
        breakers.note(A, DEAD)
    assert breakers.most(A, USUAL) == USUAL
    breakers.note(A, DEAD)
    assert breakers.most(A, USUAL) == 0


def test_each_rest_is_longer_up_to_a_bound_and_an_answer_ends_it() -> None:
    clock = Clock()
    breakers, rests = Breakers(clock), []
    for _ in range(FAILURES):
        breakers.note(A, DEAD)
    for _ in range(8):
        began = clock.now
        while not breakers.most(A, USUAL):
            clock.now += 1
        rests.append(clock.now - began)
        breakers.note(A, DEAD)
    assert rests[:3] == [FIRST_REST_SECONDS, 2 * FIRST_REST_SECONDS, 4 * FIRST_REST_SECONDS]
    assert max(rests) == LONGEST_REST_SECONDS
    breakers.note(A, ALIVE)
    assert breakers.most(A, USUAL) == USUAL
    breakers.note(A, DEAD)
    assert breakers.most(A, USUAL) == USUAL


def test_what_was_under_way_when_it_was_noticed_does_not_prolong_the_rest() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(FAILURES + 15):
        breakers.note(A, DEAD)
    clock.now = FIRST_REST_SECONDS
    assert breakers.most(A, USUAL) == 1


def test_after_its_rest_a_host_is_tried_once_until_it_answers_or_fails_again() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(FAILURES):
        breakers.note(A, DEAD)
    clock.now = FIRST_REST_SECONDS
    assert breakers.most(A, USUAL) == 1
    breakers.note(A, DEAD)
    assert breakers.most(A, USUAL) == 0
    clock.now += 2 * FIRST_REST_SECONDS
    breakers.note(A, ALIVE)
    assert breakers.most(A, USUAL) == USUAL


@pytest.mark.parametrize("error", [SendError.SSRF_BLOCKED, SendError.SIGNING, SendError.NEVER_ENDED])
def test_what_is_no_fault_of_the_host_does_not_count(error: SendError) -> None:
    breakers = Breakers(Clock())
    for _ in range(3 * FAILURES):
        breakers.note(A, Outcome(error=error))
    assert breakers.most(A, USUAL) == USUAL


@pytest.mark.parametrize("error", [SendError.SSRF_BLOCKED, SendError.SIGNING])
def test_what_no_host_has_answered_does_not_bring_it_back(error: SendError) -> None:
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(FAILURES - 1):
        breakers.note(A, DEAD)
    breakers.note(A, Outcome(error=error))
    breakers.note(A, DEAD)
    breakers.note(A, Outcome(error=error))
    assert breakers.most(A, USUAL) == 0
    clock.now = FIRST_REST_SECONDS
    breakers.note(A, Outcome(error=error))
    assert breakers.most(A, USUAL) == 1


def test_what_one_tenant_meets_at_a_host_says_nothing_about_another() -> None:
    breakers = Breakers(Clock())
    for _ in range(FAILURES):
        breakers.note(A, DEAD)
    assert (breakers.most(A, USUAL), breakers.most(B, USUAL)) == (0, USUAL)
    breakers.note(B, ALIVE)
    assert breakers.most(A, USUAL) == 0
