"""The size of batches after time-outs and successes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.loops.batch_size import FIRST_STREAK, MAX_STREAK, BatchSize

MAXIMUM = st.integers(1, 5000)


@given(maximum=MAXIMUM, limit=st.integers(0, 5000))
def test_it_finds_a_size_that_the_database_manages(maximum: int, limit: int) -> None:
    """Batches of more than `limit` records time out: a few time-outs lead to a size that fits, or to 1."""
    size, timeouts = BatchSize(maximum), 0
    while size.records > max(1, limit):
        size.shrink(size.records)
        timeouts += 1

    assert 1 <= size.records <= maximum
    assert size.records >= min(maximum, max(1, limit // 2))
    assert timeouts <= maximum.bit_length()


@given(maximum=MAXIMUM, steps=st.lists(st.one_of(st.none(), st.integers(1, 5000)), max_size=60))
def test_it_returns_to_the_maximum_once_everything_succeeds(maximum: int, steps: list[int | None]) -> None:
    """`steps`: the records of each batch that times out, None for a success."""
    size = BatchSize(maximum)
    for records in steps:
        before = size.records
        if records is None:
            size.grow()
            assert before <= size.records <= min(maximum, 2 * before)
        else:
            size.shrink(records)
            assert size.records == max(1, min(before, records) // 2)

    for _ in range(MAX_STREAK * maximum.bit_length()):
        size.grow()
    assert size.records == maximum


def test_a_larger_batch_that_times_out_again_and_again_is_tried_more_and_more_rarely() -> None:
    size = BatchSize(2000)
    size.shrink(2000)

    def successes_until_larger() -> int:
        count, before = 0, size.records
        while size.records == before:
            size.grow()
            count += 1
        return count

    counts = []
    for _ in range(8):
        counts.append(successes_until_larger())
        size.shrink(2000)

    assert counts == [min(MAX_STREAK, FIRST_STREAK * 2**n) for n in range(1, 9)]


def test_a_time_out_of_a_small_batch_halves_what_it_had() -> None:
    size = BatchSize(2000)
    size.shrink(10)
    assert size.records == 5
