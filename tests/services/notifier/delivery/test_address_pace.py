"""Which addresses may be sent to, computed from given times."""

from __future__ import annotations

from services.notifier.delivery.address_pace import AddressPaces
from services.notifier.pacing import DeliveryPolicy, RateLimit

POLICY = DeliveryPolicy(backoff_first_s=2, backoff_max_s=300)


def paces(pace: RateLimit | None = None, rate: RateLimit = RateLimit(100, 100)) -> AddressPaces:  # noqa: B008
    return AddressPaces(rate, lambda _: pace, POLICY)


def test_an_address_without_tokens_waits_and_another_does_not() -> None:
    limited = paces(rate=RateLimit(2, 0.5))
    for address in ("a", "a", "b"):
        limited.take(address, 0)

    assert limited.paused(0) == ["a"]
    assert limited.paused(2) == []


def test_the_last_token_of_the_pace_is_told() -> None:
    paced = paces(RateLimit(2, 0.1))

    assert [paced.take_pace("a", 0), paced.take_pace("a", 0)] == [False, True]
    assert paced.paced(0) == ["a"]
    assert paced.paced(10) == []


def test_a_message_that_was_not_delivered_gives_its_token_back() -> None:
    paced = paces(RateLimit(1, 0.1))
    paced.take_pace("a", 0)
    paced.put_back("a", 0)

    assert paced.paced(0) == []


def test_failures_pause_an_address_longer_each_time_until_one_succeeds() -> None:
    failing = paces()

    assert [failing.fail("a", 0, None), failing.fail("a", 0, None)] == [2, 4]
    assert failing.paused(3.9) == ["a"]
    failing.succeed("a", 4)
    assert failing.fail("a", 4, None) == 2


def test_a_channel_cannot_ask_for_more_than_the_longest_wait() -> None:
    assert paces().fail("a", 0, 100_000) == 300


def test_a_changed_pace_holds_at_once() -> None:
    current: list[RateLimit | None] = [RateLimit(1, 0.001)]
    changing = AddressPaces(RateLimit(100, 100), lambda _: current[0], POLICY)
    changing.take_pace("a", 0)
    assert changing.paced(0) == ["a"]

    current[0] = None

    assert changing.paced(0) == []


def test_an_idle_address_is_forgotten() -> None:
    idle = paces(RateLimit(1, 1))
    idle.take("a", 0)
    idle.paused(60)

    assert idle._addresses == {}
