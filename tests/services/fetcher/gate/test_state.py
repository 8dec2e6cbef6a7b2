"""The rules of the gate: live before back-fill, leases, waits that the server asks for, a clock that jumps."""

from __future__ import annotations

from itertools import count

import pytest

from services.fetcher.gate.breaker import FAILURES, FIRST_OPEN_S
from services.fetcher.gate.state import (
    PLACE_S,
    GateState,
    Granted,
    OutcomeKind,
    RequestOutcome,
    TurnRequest,
    Wait,
    end_turn,
    reset,
    take_turn,
)
from services.fetcher.sources.declaration import UNLIMITED, Budget

LEASE_S = 40.0
START_S = 1.8e9
DAY_S = 86400.0


class Gate:
    """The state and a clock that the test sets."""

    def __init__(self, budget: Budget) -> None:
        self.budget, self.state, self.now = budget, GateState(), START_S
        self._ids = count(1)

    def take(self, *, live: bool = False, place: str = "cards") -> Granted | Wait:
        request = TurnRequest(f"turn {next(self._ids)}", place, live, LEASE_S)
        self.state, answer = take_turn(self.state, request, self.budget, self.now)
        return answer

    def turn(self, *, live: bool = False, place: str = "cards") -> str | None:
        answer = self.take(live=live, place=place)
        assert isinstance(answer, Granted), answer
        return answer.turn

    def wait(self, *, live: bool = False, place: str = "cards") -> Wait:
        answer = self.take(live=live, place=place)
        assert isinstance(answer, Wait), answer
        return answer

    def end(self, turn: str | None, kind: OutcomeKind = "success", retry_after_s: float = 0.0) -> None:
        self.state = end_turn(self.state, RequestOutcome(turn, "cards", kind, retry_after_s), self.budget, self.now)

    def open_breaker(self) -> None:
        for _ in range(FAILURES):
            self.end(self.turn(), "failure")


def assert_waits(answer: Granted | Wait, seconds: float) -> None:
    """For the budget."""
    assert isinstance(answer, Wait)
    assert answer.reason == "budget"
    assert answer.seconds == pytest.approx(seconds)


@pytest.fixture
def slow() -> Gate:
    """One request per 10 s, one at a time."""
    return Gate(Budget(rate=0.1, burst=1, in_flight=1))


@pytest.fixture
def free() -> Gate:
    return Gate(UNLIMITED)


def test_no_more_than_the_declared_number_are_in_flight() -> None:
    gate = Gate(Budget(rate=None, in_flight=2))
    turns = [gate.turn(live=True), gate.turn(live=True)]
    assert gate.wait(live=True).reason == "budget"

    gate.end(turns[0])

    gate.turn(live=True)
    assert gate.wait(live=True).reason == "budget"


@pytest.mark.parametrize(
    ("budget", "historical"),
    [
        (Budget(rate=None, in_flight=3), 2),
        (Budget(rate=1000, burst=3, in_flight=None), 2),
        (Budget(rate=1000, burst=3, in_flight=8), 2),
        (Budget(rate=None, in_flight=1), 1),
    ],
)
def test_the_back_fill_leaves_one_place_to_live_requests(budget: Budget, historical: int) -> None:
    gate = Gate(budget)
    for _ in range(historical):
        gate.turn()
    assert gate.wait().reason == "budget"

    live = gate.take(live=True)

    assert isinstance(live, Granted) == (historical > 1)


def test_live_requests_may_use_all_places_and_the_back_fill_those_that_they_leave() -> None:
    gate = Gate(Budget(rate=None, in_flight=3))
    live = [gate.turn(live=True, place=str(number)) for number in range(2)]

    gate.turn()

    assert gate.wait().reason == "budget"
    gate.end(live[0])
    gate.turn()
    assert gate.wait().reason == "budget"


def test_the_turn_of_a_killed_process_ends_with_its_lease(slow: Gate) -> None:
    slow.turn()
    slow.now += LEASE_S - 1
    assert slow.wait().reason == "budget"

    slow.now += 1
    assert_waits(slow.wait(), 10)  # its request may have come only now
    slow.now += 10
    slow.turn()


def test_a_live_request_that_waits_is_served_before_the_back_fill(slow: Gate) -> None:
    slow.end(slow.turn())
    slow.wait()
    slow.wait(live=True, place="looks")

    slow.now += 10

    assert slow.wait().reason == "budget"
    slow.end(slow.turn(live=True, place="looks"))
    slow.now += 10
    slow.turn()


def test_live_requests_do_not_wait_for_each_other_to_be_served(slow: Gate) -> None:
    slow.end(slow.turn())
    slow.wait(live=True, place="looks")
    slow.now += 10

    slow.turn(live=True, place="cards")


def test_a_live_request_that_never_asks_again_loses_its_place(slow: Gate) -> None:
    slow.end(slow.turn())
    slow.wait(live=True)
    slow.now += 10 + PLACE_S + 0.1

    slow.turn()


def test_the_back_fill_uses_what_live_leaves(slow: Gate) -> None:
    """It starves only if live requests use the whole budget."""
    served = {"live": 0, "history": 0}
    for second in range(2000):
        slow.now = START_S + second
        if second % 30 == 0 or "live due" in served:
            served["live due"] = 1
            if isinstance(answer := slow.take(live=True), Granted):
                slow.end(answer.turn)
                served["live"] += 1
                del served["live due"]
        if isinstance(answer := slow.take(), Granted):
            slow.end(answer.turn)
            served["history"] += 1

    assert served["live"] == 67
    assert served["history"] >= 120


def test_retry_after_is_honoured_whole_by_all(free: Gate) -> None:
    free.end(free.turn(), "throttled", 90)

    free.now += 89.9
    assert free.wait(live=True).reason == "retry-after"
    free.now += 0.1
    free.turn()


def test_the_later_of_two_times_holds(free: Gate) -> None:
    turns = [free.turn(), free.turn()]
    free.end(turns[0], "throttled", 90)
    free.end(turns[1], "throttled", 5)

    assert free.wait().seconds == 90


def test_a_longer_retry_after_than_the_limit_is_cut_and_shown() -> None:
    gate = Gate(Budget(max_retry_after_s=60))
    gate.end(gate.turn(), "throttled", 1e12)

    assert gate.wait() == Wait(60, "retry-after")
    assert gate.state.throttle is not None
    assert (gate.state.throttle.requested_s, gate.state.throttle.is_cut) == (1e12, True)


def test_while_the_breaker_is_open_no_request_is_made_then_one(free: Gate) -> None:
    free.open_breaker()
    assert free.wait() == Wait(FIRST_OPEN_S, "breaker")
    free.now += FIRST_OPEN_S

    probe = free.turn()
    assert free.wait(live=True).reason == "breaker"
    free.end(probe)

    assert free.turn() is None


def test_the_probe_of_a_killed_process_is_replaced_after_its_lease(free: Gate) -> None:
    free.open_breaker()
    free.now += FIRST_OPEN_S
    free.turn()

    free.now += LEASE_S

    free.end(free.turn())
    assert free.turn() is None


def test_a_budget_without_limits_changes_nothing_while_all_is_well(free: Gate) -> None:
    free.end(free.turn())
    before = free.state

    for _ in range(5):
        free.end(free.turn())

    assert free.state == before


def test_a_reset_opens_the_gate_and_keeps_the_budget(slow: Gate) -> None:
    slow.end(slow.turn(), "throttled", 3600)
    assert slow.wait().reason == "retry-after"

    slow.state = reset(slow.state, slow.now)

    assert_waits(slow.wait(), 10)


@pytest.mark.parametrize("by_s", [-DAY_S, -60.0])
def test_a_clock_that_is_set_back_blocks_nothing_for_longer(slow: Gate, by_s: float) -> None:
    slow.now += 1000
    slow.turn()
    slow.end("turn 1", "throttled", 100)

    slow.now += by_s
    assert slow.wait().seconds <= 100
    slow.now += 100
    slow.turn()


def test_a_lease_is_not_longer_after_the_clock_was_set_back(slow: Gate) -> None:
    slow.turn()
    slow.now -= DAY_S
    assert slow.wait(live=True).reason == "budget"

    slow.now += LEASE_S
    slow.wait()
    slow.now += 10 + PLACE_S

    slow.turn()


def test_a_clock_that_jumps_forth_blocks_nothing(slow: Gate) -> None:
    slow.end(slow.turn())
    slow.now += DAY_S
    slow.end(slow.turn())
    slow.now -= DAY_S

    assert slow.wait().seconds <= 10
