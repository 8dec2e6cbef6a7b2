"""Decoding of the headers of dead letters, whatever bytes they contain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Record
from shared.ops.dead_letters import (
    MAX_COUNT,
    MAX_SHOWN_CHARS,
    DeadLetterPlace,
    count_text,
    letter_of,
    place_of,
    retry_record,
    stack_digest,
)

NAMES = st.sampled_from(
    ["dlq.attempts", "dlq.redrive-count", "dlq.original-offset", "dlq.exception-class", "dlq.stack-frame", "event_id"]
)


@given(st.binary(), st.dictionaries(NAMES, st.binary(max_size=30)))
def test_any_header_bytes_can_be_shown(key: bytes, headers: dict[str, bytes]) -> None:
    letter = letter_of(Record("cleaner.dlq", 0, 5, 1_000, key, b"value", headers))

    assert letter.place == DeadLetterPlace(0, 5)
    assert letter.size_bytes == 5
    assert len(letter.key) <= MAX_SHOWN_CHARS
    assert "\0" not in letter.key + letter.cause


def test_a_letter_without_an_original_record_has_no_origin() -> None:
    letter = letter_of(Record("fetcher.dlq", 0, 5, 1_000, b"", b"", {"dlq.original-topic": b""}))

    assert letter.origin is None


@given(st.integers(0, 300))
def test_the_redrive_count_always_has_two_digits(redrives: int) -> None:
    record = Record("cleaner.dlq", 0, 5, 1_000, b"", b"", {"dlq.redrive-count": count_text(redrives)})

    count = retry_record(record, "cleaner").headers["dlq.redrive-count"]

    assert len(count) == 2
    assert int(count) == min(redrives + 1, MAX_COUNT)


@pytest.mark.parametrize("text", ["", "1", "1/", "/1", "-1/2", "1/2/3", "a/b", "1/2\n", "٣/٣", "1" * 10 + "/1"])
def test_invalid_text_is_no_place(text: str) -> None:
    assert place_of(text) is None


@given(st.integers(0, 99), st.integers(0, 10**18 - 1))
def test_a_place_survives_its_encoding(partition: int, offset: int) -> None:
    assert place_of(str(DeadLetterPlace(partition, offset))) == DeadLetterPlace(partition, offset)


def test_all_digests_have_the_same_length() -> None:
    assert {len(stack_digest(frames)) for frames in ([], ["a:b:1"], ["a:b:1", "c:d:2"])} == {16}
