"""Rate limit and backpressure of jobs, with a simulated clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.jobs.pace import (
    MAX_BACKLOG,
    QUIET_FACTOR,
    QUIET_S,
    STALLED_S,
    Backpressure,
    Depth,
    IdleDetector,
    RecordRateLimit,
)

LOADER, NOTIFIER = ("loader", "clean-events"), ("notifier", "loaded-events")
FULL = MAX_BACKLOG + 1


def test_without_a_limit_there_is_no_wait() -> None:
    rate = RecordRateLimit(None)
    rate.record(10_000, 0.0)

    assert rate.wait_s(0.0) == 0.0
    assert rate.max_unit(200) == 200


def test_a_unit_is_at_most_what_the_rate_allows_in_half_a_second() -> None:
    assert [RecordRateLimit(per_s).max_unit(200) for per_s in (0.1, 1, 100, 1e6)] == [1, 1, 50, 200]


@given(st.floats(0.5, 5000), st.lists(st.floats(0, 3), min_size=1, max_size=50))
def test_the_rate_is_not_exceeded_whatever_pauses_the_caller_makes(per_s: float, pauses: list[float]) -> None:
    """Unused time is not caught up: after any moment at most one unit more than the rate is sent."""
    rate, now, sent = RecordRateLimit(per_s), 0.0, list[tuple[float, int]]()
    for pause in pauses:
        now += rate.wait_s(now) + pause
        records = rate.max_unit(200)
        rate.record(records, now)
        sent.append((now, records))

    for first in range(len(sent)):
        started_at = sent[first][0]
        assert sum(records for _, records in sent[first:-1]) <= per_s * (sent[-1][0] - started_at) * (1 + 1e-9) + 1e-6


def test_a_single_full_backlog_downstream_blocks() -> None:
    pressure = Backpressure()

    assert pressure.blocking_subscription({LOADER: Depth(0, MAX_BACKLOG), NOTIFIER: Depth(0, 0)}, 0.0) is None
    assert pressure.blocking_subscription({LOADER: Depth(0, MAX_BACKLOG), NOTIFIER: Depth(0, FULL)}, 0.1) == NOTIFIER


def test_a_stalled_subscription_blocks_for_a_limited_time() -> None:
    pressure = Backpressure()

    assert pressure.blocking_subscription({LOADER: Depth(0, FULL)}, 100.0) == LOADER
    assert pressure.blocking_subscription({LOADER: Depth(0, FULL)}, 100.0 + STALLED_S - 0.1) == LOADER
    assert pressure.blocking_subscription({LOADER: Depth(0, FULL)}, 100.0 + STALLED_S) is None
    assert pressure.blocking_subscription({LOADER: Depth(0, 10 * FULL)}, 200.0) is None


def test_a_subscription_that_moves_again_blocks_again() -> None:
    pressure = Backpressure()
    for now_s in (0.0, STALLED_S):
        pressure.blocking_subscription({LOADER: Depth(0, FULL)}, now_s)

    assert pressure.blocking_subscription({LOADER: Depth(5, 2 * FULL)}, STALLED_S + 1) == LOADER


def test_a_subscription_that_was_idle_does_not_count_as_stalled() -> None:
    pressure = Backpressure()
    for now_s in range(60):
        pressure.blocking_subscription({LOADER: Depth(0, 0)}, float(now_s))

    assert pressure.blocking_subscription({LOADER: Depth(0, FULL)}, 60.0) == LOADER


@pytest.mark.parametrize("speed", [1, 50, 199])
def test_a_subscription_that_moves_slowly_always_blocks(speed: int) -> None:
    pressure = Backpressure()

    for second in range(60):
        position = second * speed
        assert pressure.blocking_subscription({LOADER: Depth(position, position + FULL)}, float(second)) == LOADER


def test_the_limits_are_larger_while_there_is_no_live_work() -> None:
    idle_detector = IdleDetector()

    assert idle_detector.factor(10, 100.0) == 1
    assert idle_detector.factor(10, 100.0 + QUIET_S - 0.1) == 1
    assert idle_detector.factor(10, 100.0 + QUIET_S) == QUIET_FACTOR
    assert idle_detector.factor(11, 200.0) == 1
    assert idle_detector.factor(11, 200.0 + QUIET_S) == QUIET_FACTOR


def test_the_limit_of_the_backlog_can_be_larger() -> None:
    assert Backpressure().blocking_subscription({LOADER: Depth(0, FULL)}, 0.0, MAX_BACKLOG * QUIET_FACTOR) is None
