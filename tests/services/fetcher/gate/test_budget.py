"""The server never sees more requests than `burst + rate * T` in T seconds, and a quick client gets the rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.gate.budget import after_request, wait_s

RATES = st.sampled_from([0.5, 1.0, 2.0, 7.0, 100.0])
DELAYS = st.floats(min_value=0, max_value=3)


class Client:
    """Takes turns by the budget. The server sees a request between its start and its end."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.now, self.full_at = 1.8e9, 0.0
        self.unfinished: list[float] = []
        self.arrivals: list[float] = []

    def start(self, arrives_after_s: float) -> None:
        wait = wait_s(self.rate, self.burst, self.full_at, len(self.unfinished), self.now)
        if wait is None:
            self.end_first()
            return
        self.now += wait
        self.unfinished.append(self.now + arrives_after_s)

    def end_first(self) -> None:
        if self.unfinished:
            arrival = self.unfinished.pop(0)
            self.now = max(self.now, arrival)
            self.arrivals.append(arrival)
            self.full_at = after_request(self.rate, self.full_at, self.now)


@given(RATES, st.integers(1, 6), st.lists(st.tuples(st.booleans(), DELAYS), min_size=1, max_size=60))
def test_no_span_of_time_has_more_arrivals_than_the_budget(
    rate: float, burst: int, steps: list[tuple[bool, float]]
) -> None:
    client = Client(rate, burst)
    for is_start, delay_s in steps:
        if is_start:
            client.start(delay_s)
        else:
            client.now += delay_s
            client.end_first()
    while client.unfinished:
        client.end_first()

    arrivals = sorted(client.arrivals)
    for first, begin in enumerate(arrivals):
        for last in range(first, len(arrivals)):
            assert last - first + 1 <= burst + rate * (arrivals[last] - begin) + 1e-3


@given(RATES, st.integers(1, 6))
def test_quick_requests_are_made_at_the_rate(rate: float, burst: int) -> None:
    client = Client(rate, burst)

    for _ in range(burst + 20):
        client.start(0)
        client.end_first()

    assert client.arrivals[burst - 1] == client.arrivals[0]
    assert abs(client.arrivals[-1] - client.arrivals[0] - 20 / rate) < 1e-3


def test_a_request_waits_for_another_to_end_if_all_shares_are_held() -> None:
    assert wait_s(1.0, 2, 0.0, 2, 100.0) is None


@given(RATES, st.integers(1, 6), st.floats(min_value=0, max_value=1e9))
def test_a_clock_that_was_set_back_delays_a_request_by_one_share_at_most(rate: float, burst: int, by_s: float) -> None:
    wait = wait_s(rate, burst, 1.8e9, 0, 1.8e9 - by_s)

    assert wait is not None
    assert wait <= 1 / rate + 1e-6
