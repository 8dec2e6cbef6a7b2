"""The circuit breaker against a model, with requests of several feeds that end in any order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.fetcher.gate.breaker import FAILURES, FIRST_OPEN_S, MAX_OPEN_S, VOUCH_S, CircuitBreaker

FEEDS = st.sampled_from(["cards", "looks"])
START_S = 1.8e9


def opened(feed: str = "cards") -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(FAILURES):
        breaker = breaker.with_failure(None, feed, START_S)
    return breaker


class BreakerMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.breaker = CircuitBreaker()
        self.now = START_S
        self.number = 0
        self.under_way: dict[str, tuple[str, bool]] = {}
        """Turn to feed, and whether the turn was taken while the breaker was not closed."""

    @rule(seconds=st.floats(min_value=0, max_value=2 * MAX_OPEN_S))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(feed=FEEDS)
    def request(self, feed: str) -> None:
        if self.breaker.wait_s(self.now) > 0:
            return
        self.number += 1
        turn = f"turn {self.number}"
        was_closed = self.breaker.state == "closed"
        self.breaker = self.breaker.with_request(turn)
        self.under_way[turn] = (feed, not was_closed)
        assert (self.breaker.state == "closed") == was_closed

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), end=st.sampled_from(["success", "failure", "failure", "died"]))
    def end(self, data: st.DataObject, end: str) -> None:
        turn = data.draw(st.sampled_from(sorted(self.under_way)))
        feed, _ = self.under_way.pop(turn)
        before = self.breaker
        if end == "died":
            self.breaker = before.without_probe(turn)
            assert (self.breaker != before) == (before.probe == turn)
        elif end == "success":
            self.breaker = before.with_success(turn, feed, self.now)
            assert self.breaker.state == "closed" or before.probe != turn
        else:
            self.breaker = before.with_failure(turn, feed, self.now)
            if before.probe == turn:
                assert self.breaker.state == "open"
                assert self.breaker.wait_s(self.now) >= min(MAX_OPEN_S, 2 * before.open_s) - 1e-3
        if before.state != "closed" and before.probe != turn:
            assert self.breaker == before, "a request from before the breaker opened changes nothing"

    @rule(feed=FEEDS, count=st.integers(1, FAILURES))
    def fail_in_a_row(self, feed: str, count: int) -> None:
        for _ in range(count):
            self.breaker = self.breaker.with_failure(None, feed, self.now)

    @invariant()
    def at_most_one_probe_is_under_way(self) -> None:
        probes = [turn for turn, (_, is_probe) in self.under_way.items() if is_probe and turn == self.breaker.probe]
        assert len(probes) <= 1
        assert self.breaker.state == "half-open" or self.breaker.probe is None

    @invariant()
    def while_a_probe_is_under_way_no_request_is_made(self) -> None:
        if self.breaker.probe is not None:
            assert self.breaker.wait_s(self.now) > 0

    @invariant()
    def the_wait_is_bounded(self) -> None:
        assert 0 <= self.breaker.wait_s(self.now) <= MAX_OPEN_S
        assert self.breaker.open_s <= MAX_OPEN_S


TestBreakerMachine = BreakerMachine.TestCase


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = CircuitBreaker()
    for _ in range(FAILURES - 1):
        breaker = breaker.with_failure(None, "cards", START_S)
        assert breaker.wait_s(START_S) == 0

    breaker = breaker.with_failure(None, "cards", START_S)

    assert breaker.wait_s(START_S) == FIRST_OPEN_S


def test_a_success_ends_the_row_of_its_feed() -> None:
    breaker = CircuitBreaker()
    for _ in range(3 * FAILURES):
        breaker = breaker.with_failure(None, "cards", START_S).with_success(None, "cards", START_S)

    assert breaker.failures == {}


def test_a_broken_feed_does_not_stop_one_that_works() -> None:
    breaker = CircuitBreaker().with_success(None, "looks", START_S)
    for _ in range(10 * FAILURES):
        breaker = breaker.with_failure(None, "cards", START_S)

    assert breaker.state == "closed"
    assert breaker.with_failure(None, "looks", START_S).state == "open"
    assert breaker.with_failure(None, "cards", START_S + VOUCH_S).state == "open"


def test_each_failed_probe_doubles_the_time_up_to_a_limit() -> None:
    breaker, now, waits = opened(), START_S, []
    for number in range(8):
        waits.append(breaker.wait_s(now))
        now += breaker.wait_s(now)
        breaker = breaker.with_request(f"probe {number}").with_failure(f"probe {number}", "cards", now)

    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_successful_probe_starts_over() -> None:
    now = START_S + FIRST_OPEN_S

    breaker = opened().with_request("probe").with_success("probe", "cards", now)

    assert breaker == CircuitBreaker(succeeded_at={"cards": now})


def test_a_probe_that_died_is_followed_by_another() -> None:
    now = START_S + FIRST_OPEN_S
    breaker = opened().with_request("probe")
    assert breaker.wait_s(now) > 0

    breaker = breaker.without_probe("probe")

    assert breaker.wait_s(now) == 0
    assert breaker.with_request("next").probe == "next"
