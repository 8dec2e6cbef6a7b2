"""How long to wait after trouble that may pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.loops.backoff import CAP_S, FIRST_S, Backoff


def test_waits_double_up_to_the_cap_and_start_small_again() -> None:
    backoff = Backoff(lambda: 1.0)

    assert [backoff.next_s() for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_s() == FIRST_S


@given(st.floats(0, 1), st.integers(0, 5000))
def test_a_wait_is_never_nothing_and_never_beyond_the_cap_however_long_the_outage(chance: float, before: int) -> None:
    assert FIRST_S / 2 <= Backoff(lambda: chance, failures=before).next_s() <= CAP_S
