"""Exponential backoff."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import Backoff


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    assert [Backoff(0.1, 3.0).delay_s(failures) for failures in range(1, 8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert [Backoff(1, factor=3).delay_s(failures) for failures in (1, 2, 3)] == [1, 3, 9]


@given(st.floats(0, 1), st.integers(1, 5000))
def test_jitter_shortens_a_delay_by_at_most_its_share_after_any_number_of_failures(
    chance: float, failures: int
) -> None:
    longest = Backoff(0.1, 3.0).delay_s(failures)

    assert longest / 2 <= Backoff(0.1, 3.0, jitter=0.5, random=lambda: chance).delay_s(failures) <= longest
