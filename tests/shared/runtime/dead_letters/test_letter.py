"""The content of dead letters."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.broker.contract import Headers, NewRecord, Record
from shared.broker.record_size import MAX_RECORD_BYTES, TOPIC_LIMIT_BYTES
from shared.broker.record_size import size_of as size_of_record
from shared.errors import InvalidEvent
from shared.ops.dead_letters import letter_of, retry_record, stack_digest
from shared.records import decode, identity_of
from shared.runtime.dead_letters.letter import LONGEST_MESSAGE_BYTES, FailedRecord, dead_letter
from shared.topics import RAW, retry_topic

AT = datetime(2031, 5, 4, 3, tzinfo=UTC)
LATER = AT + timedelta(hours=1)


def failed(
    topic: str = RAW, headers: Headers | None = None, message: str = "no boats", offset: int = 17
) -> FailedRecord:
    record = Record(topic, 2, offset, 1_000, b"key", b"value", headers or {"event_id": b"e"})
    return FailedRecord(record, ValueError(message), "handle", 3)


def test_a_letter_has_the_original_record_and_the_failure() -> None:
    letter = dead_letter("cleaner", failed(), AT)

    assert (letter.topic, letter.key, letter.value) == ("cleaner.dlq", b"key", b"value")
    assert letter.headers == {
        "event_id": b"e",
        "dlq.original-topic": b"raw-events",
        "dlq.original-partition": b"2",
        "dlq.original-offset": b"17",
        "dlq.original-timestamp": b"1000",
        "dlq.original-group": b"cleaner",
        "dlq.stage": b"handle",
        "dlq.exception-class": b"ValueError",
        "dlq.exception-message": b"no boats",
        "dlq.attempts": b"3",
        "dlq.first-failed-at": b"2031-05-04T03:00:00.000000+00:00",
        "dlq.redrive-count": b"00",
        "dlq.stack-digest": stack_digest([]).encode(),
        "dlq.stack-frame": b"",
    }


def test_a_letter_that_fails_again_keeps_its_origin_and_its_first_failure() -> None:
    first = dead_letter("cleaner", failed(), AT).headers
    again = failed(retry_topic("cleaner"), {**first, "dlq.redrive-count": b"01"}, "no cats", offset=0)

    headers = dead_letter("cleaner", again, LATER).headers

    assert headers == {**first, "dlq.redrive-count": b"01", "dlq.exception-message": b"no cats"}


def test_a_letter_of_the_largest_record_fits_into_a_topic() -> None:
    record = Record(RAW, 2, 17, 1_000, b"key", b"v" * TOPIC_LIMIT_BYTES, {"event_id": b"e"})

    letter = dead_letter("cleaner", FailedRecord(record, ValueError("no boats" * 500), "handle", 3), AT)

    size = len(letter.key) + len(letter.value) + sum(len(name) + len(value) for name, value in letter.headers.items())
    message = letter.headers["dlq.exception-message"]
    assert size < TOPIC_LIMIT_BYTES - 32 * 1024
    assert message.startswith(f"(the value is cut to {len(letter.value):,} of 8,388,608 bytes) no boats".encode())
    assert len(message) <= LONGEST_MESSAGE_BYTES
    assert letter.headers["dlq.original-size"] == b"8388608"
    assert letter.headers["dlq.original-sha256"].decode() == hashlib.sha256(record.value).hexdigest()
    shown = letter_of(Record(letter.topic, 0, 0, 1_000, letter.key, letter.value, letter.headers))
    assert (shown.cut, shown.original_size_bytes) == (True, 8_388_608)


@pytest.mark.parametrize("max_bytes", [16_000, MAX_RECORD_BYTES])
def test_a_letter_fits_whatever_part_of_its_record_is_too_large(max_bytes: int) -> None:
    large = b"v" * max_bytes
    for record in (
        Record(RAW, 2, 17, 1_000, b"key", large, {"event_id": b"e"}),
        Record(RAW, 2, 17, 1_000, large, b"value", {"event_id": b"e"}),
        Record(RAW, 2, 17, 1_000, b"key", b"value", {"event_id": b"e", "x": large}),
    ):
        letter = dead_letter("cleaner", FailedRecord(record, ValueError("no boats"), "handle", 3), AT, max_bytes)

        assert size_of_record(letter) <= max_bytes
        assert (letter.headers["event_id"], letter.headers["dlq.original-topic"]) == (b"e", b"raw-events")


def test_a_letter_that_was_cut_and_fails_again_still_says_so() -> None:
    record = Record(RAW, 2, 17, 1_000, b"key", b"v" * 50_000, {"event_id": b"e"})
    first = dead_letter("cleaner", FailedRecord(record, ValueError("no boats"), "handle", 3), AT, 20_000)
    redriven = Record(retry_topic("cleaner"), 0, 0, 1_000, first.key, first.value, first.headers)

    again = dead_letter("cleaner", FailedRecord(redriven, ValueError("no boats"), "handle", 3), LATER, 20_000)

    assert again.headers["dlq.original-size"] == b"50000"


def test_a_letter_of_another_service_counts_as_an_original_record() -> None:
    foreign = dead_letter("cleaner", failed(), AT)

    headers = dead_letter("loader", failed(foreign.topic, foreign.headers, offset=0), LATER).headers

    assert [headers[f"dlq.original-{name}"] for name in ("topic", "offset", "group")] == [
        b"cleaner.dlq",
        b"0",
        b"loader",
    ]
    assert headers["dlq.first-failed-at"] == LATER.isoformat(timespec="microseconds").encode()


def test_a_record_without_an_id_gets_one_that_is_always_the_same() -> None:
    ids = [dead_letter("cleaner", failed(headers={"x": b""}), at).headers["event_id"] for at in (AT, LATER)]

    assert ids[0] == ids[1]
    assert UUID(ids[0].decode())


@pytest.mark.parametrize("message", ["é" * 2000, "a" + "é" * 2000, "\ud800" * 2000, "\0" * 2000])
def test_a_long_or_unprintable_message_is_cut_between_characters(message: str) -> None:
    text = dead_letter("cleaner", failed(message=message), AT).headers["dlq.exception-message"]

    assert LONGEST_MESSAGE_BYTES - 3 < len(text) <= LONGEST_MESSAGE_BYTES
    assert "\0" not in text.decode()


def stored(new: NewRecord, offset: int) -> Record:
    return Record(new.topic, 0, offset, 1_000, new.key, new.value, new.headers)


def size_of(headers: Headers) -> int:
    return sum(len(name.encode()) + len(value) for name, value in headers.items())


def failing(record: Record) -> FailedRecord:
    """The failure as the runtime catches it, with its traceback."""
    try:
        decode(record)
    except InvalidEvent as error:
        return FailedRecord(record, error, "decode", 1)
    raise AssertionError("expected a decoding error")


def test_ten_redrives_of_the_same_record_do_not_change_the_size() -> None:
    record = Record(RAW, 2, 99, 1_000, b"key", b"no JSON", {"event_id": str(UUID(int=1)).encode(), "schema": b"x/1"})
    sizes = set()
    for offset in range(95, 106):
        letter = stored(dead_letter("cleaner", failing(record), AT + timedelta(seconds=offset)), offset)
        sizes.add(size_of(letter.headers))
        record = stored(retry_record(letter, "cleaner"), offset)

    assert len(sizes) == 1
    assert letter_of(record).redrives == 11
    assert letter_of(record).origin == "raw-events/2/99"


def test_a_retry_record_keeps_value_key_and_headers() -> None:
    letter = stored(dead_letter("cleaner", failed(), AT), 7)

    back = retry_record(letter, "cleaner")

    assert (back.topic, back.key, back.value) == ("cleaner.retry", b"key", b"value")
    assert back.headers == {**letter.headers, "dlq.redrive-count": b"01"}


def test_the_stack_digest_differs_between_failures_and_not_between_records() -> None:
    bad_id = [failing(Record(RAW, 0, offset, 0, b"", b"", {"event_id": b"x"})) for offset in (1, 2)]
    bad_schema = failing(Record(RAW, 0, 3, 0, b"", b"", {"event_id": str(UUID(int=1)).encode(), "schema": b"?"}))

    letters = [letter_of(stored(dead_letter("cleaner", each, AT), 0)) for each in (*bad_id, bad_schema)]

    assert letters[0].stack_digest == letters[1].stack_digest != letters[2].stack_digest
    assert letters[0].stack_frame.startswith(f"{identity_of.__module__}:identity_of:")
    assert letters[2].stack_frame.startswith(f"{decode.__module__}:decode:")
