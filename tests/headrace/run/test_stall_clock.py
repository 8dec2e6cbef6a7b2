"""How long a run has made no progress."""

from __future__ import annotations

from headrace.run.stall_clock import StallClock


def test_the_time_counts_from_the_last_progress() -> None:
    times = iter([100.0, 107.0, 110.0, 112.5])
    clock = StallClock(lambda: next(times))

    assert clock.stalled_s() == 7.0
    clock.reset()
    assert clock.stalled_s() == 2.5
