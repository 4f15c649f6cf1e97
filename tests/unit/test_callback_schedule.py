"""When a callback is tried again: ten tries over about 75 hours, never earlier than asked, and then no more."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from control.callbacks.schedule import DELAYS_SECONDS, LONGEST_WAIT, MAX_TRIES, DeliveryState, judge
from control.callbacks.sending import signed_headers
from resources.callbacks.sender import Outcome, SendError

REFUSED = Outcome(status=503, detail="busy")
SECRET = "whsec_c2VjcmV0IG9mIHRoZSBjYWxsYmFjayB0ZXN0cw=="
chances = st.floats(0, 1, exclude_max=True)


@given(st.lists(chances, min_size=len(DELAYS_SECONDS), max_size=len(DELAYS_SECONDS)))
def test_the_schedule_takes_about_75_hours_in_ten_tries(spread: list[float]) -> None:
    total = timedelta()
    for tries, chance in enumerate(spread, start=1):
        verdict = judge(tries, REFUSED, chance)
        assert verdict.state is DeliveryState.PENDING
        assert verdict.delay is not None
        assert 0.9 <= verdict.delay.total_seconds() / DELAYS_SECONDS[tries - 1] <= 1.1
        total += verdict.delay
    assert judge(MAX_TRIES, REFUSED, 0.5).state is DeliveryState.EXHAUSTED
    assert timedelta(hours=68) < total < timedelta(hours=83.2)


def test_the_schedule_without_jitter_is_75_hours_and_35_minutes() -> None:
    assert MAX_TRIES == 10
    assert timedelta(seconds=sum(DELAYS_SECONDS)) == timedelta(hours=75, minutes=35, seconds=5)
    assert judge(1, REFUSED, 0.5).delay == timedelta(seconds=5)


@given(st.integers(1, MAX_TRIES - 1), chances, st.floats(0, 1e12))
def test_a_receiver_may_ask_for_more_patience_but_not_for_less(tries: int, chance: float, asked: float) -> None:
    plain = judge(tries, REFUSED, chance).delay
    delay = judge(tries, Outcome(status=429, retry_after=asked), chance).delay
    assert plain is not None
    assert delay is not None
    assert delay >= plain
    assert delay == plain or delay == min(timedelta(seconds=asked), LONGEST_WAIT)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered_on_whichever_try(status: int) -> None:
    for tries in range(1, MAX_TRIES + 3):
        assert judge(tries, Outcome(status=status), 0.5).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("status", [101, 300, 301, 307, 400, 401, 404, 408, 429, 500, 502, 503])
def test_every_other_status_but_410_is_tried_again(status: int) -> None:
    assert judge(1, Outcome(status=status), 0.5).state is DeliveryState.PENDING
    assert judge(MAX_TRIES, Outcome(status=status), 0.5).state is DeliveryState.EXHAUSTED
    assert judge(MAX_TRIES + 5, Outcome(status=status), 0.5).state is DeliveryState.EXHAUSTED


def test_410_ends_it_at_once() -> None:
    assert judge(1, Outcome(status=410), 0.5).state is DeliveryState.EXHAUSTED


@pytest.mark.parametrize("error", list(SendError))
def test_every_error_is_tried_again(error: SendError) -> None:
    assert judge(1, Outcome(error=error), 0.5).state is DeliveryState.PENDING


@given(st.text())
def test_a_receiver_verifies_the_signature_over_the_very_bytes(body: str) -> None:
    try:
        sent = body.encode()
    except UnicodeEncodeError:
        return
    webhook_id = UUID(int=7)
    headers = signed_headers(webhook_id, body, [SECRET], datetime.now(UTC))
    Webhook(SECRET).verify(sent, headers, json_parse=False)
    assert headers["webhook-id"] == str(webhook_id)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(sent + b"!", headers, json_parse=False)
