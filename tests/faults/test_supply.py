"""The fetcher gets a document at full pace, then at growing intervals, and everything once the limit is lifted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from shared.errors import TransientError
from tests.faults.supply import GROWTH, UNIT_S, Permits, Supply


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def taken_by(permits: Permits, supply: Supply, clock: ManualClock, until_s: float) -> list[float]:
    """When a fetcher without other work gets its permits."""
    times = []
    while clock.now_s < until_s:
        supply.step()
        if permits.are_left():
            permits.take()
            times.append(clock.now_s)
        clock.now_s += 0.1
    return times


@pytest.fixture
def permits(tmp_path: Path) -> Permits:
    return Permits(tmp_path / "permits")


def test_a_share_comes_at_full_pace_and_more_at_growing_intervals(permits: Permits) -> None:
    clock = ManualClock()
    supply = Supply(permits, clock)
    supply.limit(80)

    supply.begin(10)
    few = taken_by(permits, supply, clock, 60.0)

    assert few[1] - few[0] == pytest.approx(UNIT_S, abs=0.11)
    gaps = [after - before for before, after in pairwise(few[2:])]
    assert all(after > before for before, after in pairwise(gaps))
    assert gaps[-1] / gaps[-2] == pytest.approx(GROWTH, abs=0.1)
    assert len(few) < 12


def test_the_recovery_begins_at_full_pace_again(permits: Permits) -> None:
    clock = ManualClock()
    supply = Supply(permits, clock)
    supply.limit(80)
    supply.begin(10)
    taken_by(permits, supply, clock, 60.0)

    supply.resume()

    assert len(taken_by(permits, supply, clock, 60.0 + 5 * UNIT_S)) >= 5


def test_no_permit_is_added_while_the_last_one_is_not_taken(permits: Permits, tmp_path: Path) -> None:
    clock = ManualClock()
    supply = Supply(permits, clock)
    supply.limit(80)
    supply.begin(1)

    for _ in range(100):
        supply.step()
        clock.now_s += UNIT_S

    assert len(list((tmp_path / "permits").iterdir())) == 1


def test_without_a_permit_the_caller_has_to_try_again(permits: Permits) -> None:
    permits.limit()

    with pytest.raises(TransientError, match="holds back"):
        permits.take(0.1)

    permits.issue()
    permits.take()
    with pytest.raises(TransientError):
        permits.take(0.1)


def test_permits_are_needed_only_while_they_are_limited(permits: Permits) -> None:
    permits.take()
    permits.limit()

    permits.lift()

    permits.take()
    permits.limit()
    permits.lift()
    permits.take()
