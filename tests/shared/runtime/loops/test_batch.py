"""Processing of a batch: which records fail, and how often each is tried."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import NewRecord, Record
from shared.errors import Aborted, BrokerError, ConfigError, HeadraceError, InvalidEvent, TransientError
from shared.records import DecodedRecord
from shared.runtime.dead_letters.letter import FailedRecord
from shared.runtime.loops.batch import MAX_TRIES, process_batch
from tests.shared.runtime.loop_harness import number_of, output_of, raw


def records(count: int) -> list[Record]:
    return [Record("raw-events", 0, number, 0, *raw(number)[1:4]) for number in range(count)]


@given(count=st.integers(0, 40), bad=st.frozensets(st.integers(0, 39)))
def test_all_valid_records_are_output_in_order(count: int, bad: frozenset[int]) -> None:
    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if any(number_of(received) in bad for received in batch):
            raise InvalidEvent("one of these")
        return [output_of(received) for received in batch]

    result = process_batch(records(count), attempt)

    assert [int(output.value) for output in result.outputs] == [n for n in range(count) if n not in bad]
    assert [each.record.offset for each in result.failures] == [n for n in range(count) if n in bad]


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "full"), OSError(errno.EMFILE, "files")])
def test_a_process_without_resources_is_no_fault_of_a_record(error: Exception) -> None:
    def attempt(_: Sequence[DecodedRecord]) -> list[NewRecord]:
        raise error

    with pytest.raises(TransientError, match=r"out of resources at raw-events/0/0: (MemoryError|OSError)"):
        process_batch(records(8), attempt)


def test_a_batch_that_needs_too_much_memory_is_handled_in_parts() -> None:
    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if len(batch) > 3:
            raise MemoryError
        return [output_of(received) for received in batch]

    result = process_batch(records(16), attempt)

    assert (len(result.outputs), result.failures) == (16, [])


def test_another_error_of_the_system_is_the_fault_of_its_record() -> None:
    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if any(number_of(received) == 3 for received in batch):
            raise FileNotFoundError(errno.ENOENT, "no such file")
        return [output_of(received) for received in batch]

    assert [each.record.offset for each in process_batch(records(8), attempt).failures] == [3]


def test_one_bad_record_among_many_takes_few_tries() -> None:
    tries = 0

    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        nonlocal tries
        tries += 1
        if any(number_of(received) == 700 for received in batch):
            raise ValueError("a bug that one record triggers")
        return []

    assert len(process_batch(records(1024), attempt).failures) == 1
    assert tries <= 1 + 2 * 10 + (MAX_TRIES - 1)


@pytest.mark.parametrize(("fails", "failed", "tries"), [(1, 0, 2), (2, 0, 3), (3, 1, 3), (9, 1, 3)])
def test_a_single_record_is_tried_up_to_three_times(fails: int, failed: int, tries: int) -> None:
    attempts = 0

    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        nonlocal attempts
        attempts += 1
        if attempts <= fails:
            raise ValueError("sometimes")
        return [output_of(received) for received in batch]

    result = process_batch(records(1), attempt)

    assert (attempts, len(result.failures), len(result.outputs)) == (tries, failed, 1 - failed)
    assert [each.attempts for each in result.failures] == [3] * failed


def test_an_invalid_record_is_not_tried_again() -> None:
    errors = [ValueError("first"), InvalidEvent("then"), AssertionError("called again")]

    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        raise errors.pop(0)

    (failed,) = process_batch(records(1), attempt).failures

    assert (str(failed.error), failed.stage, failed.attempts) == ("then", "handle", 2)


def test_on_failure_can_end_the_batch() -> None:
    tries = 0

    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        nonlocal tries
        tries += 1
        raise ValueError("all of them")

    def on_failure(failed: FailedRecord) -> None:
        if failed.record.offset == 3:
            raise HeadraceError("enough")

    with pytest.raises(HeadraceError, match="enough"):
        process_batch(records(1024), attempt, on_failure)

    assert tries < 50


@pytest.mark.parametrize("error", [TransientError("away"), BrokerError("damaged"), Aborted("no"), ConfigError("key")])
def test_errors_that_no_record_causes_are_raised(error: Exception) -> None:
    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        raise error

    with pytest.raises(type(error)):
        process_batch(records(2), attempt)


def test_a_record_that_does_not_decode_is_not_handled() -> None:
    first, second = records(2)
    seen: list[int] = []

    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        seen.extend(received.record.offset for received in batch)
        return []

    result = process_batch([first._replace(headers={}), second], attempt)

    assert seen == [1]
    assert [(each.record.offset, type(each.error), each.stage, each.attempts) for each in result.failures] == [
        (0, InvalidEvent, "decode", 1)
    ]


def test_an_empty_batch_is_not_handled() -> None:
    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        raise AssertionError("called with nothing")

    assert process_batch([], attempt).outputs == []
