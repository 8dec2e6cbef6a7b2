"""When failures are a bug of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Record
from shared.errors import HeadraceError, InvalidEvent
from shared.runtime.breaker import LAST, MOST, Breaker, most_in_a_row


def after(breaker: Breaker, went: str, error: Exception | None = None) -> Breaker:
    """`went`: x for a record that failed, . for one that did not."""
    records = [Record("t", 0, offset, 0, b"", b"", {}) for offset in range(len(went))]
    failed = [(record, error or ValueError()) for record, how in zip(records, went, strict=True) if how == "x"]
    return breaker.after(records, failed)


@pytest.mark.parametrize("went", ["x" * 21, "." * 1900 + "x" * 21, "x" * 21 + "." * 1900, ("x" + "." * 3) * 100])
def test_more_failures_in_a_row_than_allowed_break(went: str) -> None:
    with pytest.raises(HeadraceError, match="ValueError"):
        after(Breaker(), went)


@pytest.mark.parametrize("went", ["", "x" * 20, "x" * 20 + "." * 80 + "x" * 20, ("x" + "." * 9) * 300])
def test_a_few_failures_do_not(went: str) -> None:
    after(Breaker(), went)


def test_failures_of_several_batches_add_up() -> None:
    breaker = after(after(Breaker(), "x" * 10), ".....")

    with pytest.raises(HeadraceError):
        after(breaker, "x" * 11)


def test_failures_are_forgotten_after_enough_good_records() -> None:
    breaker = after(after(Breaker(), "x" * MOST), "." * LAST)

    assert after(breaker, "x" * MOST).recent == (False,) * (LAST - MOST) + (True,) * MOST


def test_wrong_records_are_no_bug() -> None:
    after(Breaker(), "x" * 500, InvalidEvent("wrong"))


@given(st.lists(st.booleans(), max_size=350))
def test_the_most_in_a_row_is_that_of_the_worst_window(went: list[bool]) -> None:
    windows = [went[start : start + LAST] for start in range(max(1, len(went) - LAST + 1))]

    assert most_in_a_row(went) == max(sum(window) for window in windows)
