"""Computing backoff and rate limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.pacing import DeliveryPolicy, RateLimit, TokenBucket


def test_the_wait_doubles_up_to_its_maximum() -> None:
    delivery = DeliveryPolicy(backoff_first_s=2, backoff_max_s=10)

    assert [delivery.backoff_s(failures) for failures in (1, 2, 3, 4, 100_000)] == [2, 4, 8, 10, 10]


def test_a_channel_parks_unless_it_is_set_to_retry() -> None:
    delivery = DeliveryPolicy(retry_after_crash=frozenset({"console"}))

    assert (delivery.crash_policy("console"), delivery.crash_policy("discord")) == ("retry", "park")


def test_a_burst_is_sent_at_once_and_the_next_message_waits() -> None:
    bucket = TokenBucket(RateLimit(burst=2, per_s=0.5), now_s=100)
    bucket.take(100)
    bucket.take(100)

    assert bucket.wait_s(100) == pytest.approx(2)
    assert bucket.wait_s(101) == pytest.approx(1)
    assert bucket.wait_s(102) == 0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_no_period_has_more_messages_than_burst_and_rate_allow(pauses: list[float]) -> None:
    rate = RateLimit(burst=3, per_s=0.5)
    bucket, now_s, sent = TokenBucket(rate, 0), 0.0, 0
    for pause in pauses:
        now_s += pause
        if bucket.wait_s(now_s) == 0:
            bucket.take(now_s)
            sent += 1

    assert sent <= rate.burst + rate.per_s * now_s + 1e-6
