"""The circuit breaker of dead letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Record, TopicPartition
from shared.errors import InvalidEvent
from shared.runtime.dead_letters.breaker import MAX_FAILURES, WINDOW_RECORDS, Breaker, Tripped
from shared.runtime.dead_letters.letter import FailedRecord


def run_batch(
    breaker: Breaker,
    outcomes: str,
    *,
    partition: int = 0,
    error: Exception | None = None,
    is_committed: bool = True,
    topic: str = "t",
) -> None:
    """Runs a batch of one partition. `outcomes`: x for a record that fails, . for a success."""
    records = [Record(topic, partition, offset, 0, b"", b"", {}) for offset in range(len(outcomes))]
    batch_failures = breaker.begin_batch(records)
    for record, outcome in zip(records, outcomes, strict=True):
        if outcome == "x":
            batch_failures.record_failure(FailedRecord(record, error or ValueError("no"), "handle", 3))
    if is_committed:
        breaker.commit(batch_failures)


@pytest.mark.parametrize("outcomes", ["x" * 21, "." * 1900 + "x" * 21, "x" * 21 + "." * 1900, ("x" + "." * 3) * 100])
def test_too_many_failures_in_a_window_trip(outcomes: str) -> None:
    with pytest.raises(Tripped, match=r"^t/0 is held back .* 21 of the last \d+ .* ValueError: no\. ") as caught:
        run_batch(Breaker(), outcomes)

    assert caught.value.tp == TopicPartition("t", 0)


@pytest.mark.parametrize("outcomes", ["", "x" * 20, "x" * 20 + "." * 80 + "x" * 20, ("x" + "." * 9) * 300])
def test_a_few_failures_do_not_trip(outcomes: str) -> None:
    run_batch(Breaker(), outcomes)


def test_failures_of_several_batches_add_up() -> None:
    breaker = Breaker()
    for outcomes in ("x" * 10, "....."):
        run_batch(breaker, outcomes)

    with pytest.raises(Tripped):
        run_batch(breaker, "x" * 11)


def test_failures_of_units_that_were_not_committed_do_not_add_up() -> None:
    breaker = Breaker()

    for _ in range(5):
        run_batch(breaker, "x" * MAX_FAILURES, is_committed=False)


def test_failures_of_several_partitions_do_not_add_up() -> None:
    breaker = Breaker()

    for partition in range(5):
        run_batch(breaker, "x" * MAX_FAILURES, partition=partition)


def test_failures_are_forgotten_after_enough_successes() -> None:
    breaker = Breaker()
    for outcomes in ("x" * MAX_FAILURES, "." * (WINDOW_RECORDS - 1), ".", "x" * MAX_FAILURES):
        run_batch(breaker, outcomes)

    with pytest.raises(Tripped):
        run_batch(breaker, "x")


def test_invalid_records_count_like_bugs() -> None:
    with pytest.raises(Tripped, match=r"InvalidEvent: wrong"):
        run_batch(Breaker(), "x" * 21, error=InvalidEvent("wrong"))


def test_the_error_says_what_to_do() -> None:
    with pytest.raises(Tripped, match=r"`headrace resume cleaner t`; with --tolerate N"):
        run_batch(Breaker("cleaner"), "x" * 21)


def test_the_retry_topic_never_trips() -> None:
    run_batch(Breaker(), "x" * 500, topic="cleaner.retry")


def test_a_released_partition_starts_with_an_empty_window() -> None:
    breaker = Breaker()
    run_batch(breaker, "x" * MAX_FAILURES)

    breaker.release(TopicPartition("t", 0))
    run_batch(breaker, "x" * MAX_FAILURES)

    with pytest.raises(Tripped):
        run_batch(breaker, "x")


def test_tolerated_failures_do_not_count_and_only_committed_units_use_them_up() -> None:
    breaker = Breaker()
    breaker.release(TopicPartition("t", 0), tolerate=30)

    run_batch(breaker, "x" * 25, is_committed=False)
    run_batch(breaker, "x" * 25)
    run_batch(breaker, "x" * (5 + MAX_FAILURES))

    with pytest.raises(Tripped):
        run_batch(breaker, "x")


def test_the_tolerance_of_one_partition_does_not_apply_to_another() -> None:
    breaker = Breaker()
    breaker.release(TopicPartition("t", 0), tolerate=30)

    with pytest.raises(Tripped):
        run_batch(breaker, "x" * 21, partition=1)


@given(st.lists(st.booleans(), max_size=350), st.integers(1, 350))
def test_any_window_with_too_many_failures_trips_for_every_batch_size(failed: list[bool], size: int) -> None:
    windows = [failed[start : start + WINDOW_RECORDS] for start in range(max(1, len(failed) - WINDOW_RECORDS + 1))]
    breaker, tripped = Breaker(), False
    try:
        for start in range(0, len(failed), size):
            run_batch(breaker, "".join("x" if each else "." for each in failed[start : start + size]))
    except Tripped:
        tripped = True

    assert tripped == (max(sum(window) for window in windows) > MAX_FAILURES)
