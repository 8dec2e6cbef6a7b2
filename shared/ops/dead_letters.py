"""Reads a dead letter from its record's headers, and builds the record that sends it back to be retried."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from shared.broker.contract import NewRecord, Record
from shared.topics import retry_topic

State = Literal["open", "redriven", "discarded"]

ORIGINAL_TOPIC = "dlq.original-topic"
ORIGINAL_PARTITION = "dlq.original-partition"
ORIGINAL_OFFSET = "dlq.original-offset"
ORIGINAL_TIMESTAMP = "dlq.original-timestamp"
ORIGINAL_GROUP = "dlq.original-group"
FIRST_FAILED_AT = "dlq.first-failed-at"
REDRIVE_COUNT = "dlq.redrive-count"
STAGE = "dlq.stage"
CAUSE = "dlq.exception-class"
MESSAGE = "dlq.exception-message"
ATTEMPTS = "dlq.attempts"
# Of a letter whose value was cut because it would not fit: the size and SHA-256 of the whole value.
ORIGINAL_SIZE = "dlq.original-size"
ORIGINAL_SHA256 = "dlq.original-sha256"
STACK_DIGEST = "dlq.stack-digest"
STACK_FRAME = "dlq.stack-frame"

# The count has two digits so that a record keeps its size; with `force`, redrives continue and the count stays at 99.
MAX_COUNT = 99
DIGEST_BYTES = 8
MAX_FRAME_BYTES = 120
# Limits the index's memory: a list shows only this many characters of a key or message. The record has all of them.
MAX_SHOWN_CHARS = 200


class DeadLetterPlace(NamedTuple):
    """Position of a dead letter in its service's dead-letter topic; its text form is `partition/offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


class DeadLetter(NamedTuple):
    """A dead letter without its payload.

    `at_ms` is the time at which the letter was written. `topic`, `partition` and `offset` name the record that failed;
    they are empty and -1 for the fetcher's letters, which come from documents instead of records.
    `original_size_bytes`: the size of the record's value, which is larger than `size_bytes` if the letter's is cut.
    """

    place: DeadLetterPlace
    at_ms: int
    key: str
    cause: str
    message: str
    stage: str
    stack_digest: str
    stack_frame: str
    attempts: int
    redrives: int
    topic: str
    partition: int
    offset: int
    first_failed_at: str
    size_bytes: int
    original_size_bytes: int

    @property
    def cut(self) -> bool:
        """Whether the end of the value is missing."""
        return self.original_size_bytes > self.size_bytes

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)

    @property
    def origin(self) -> str | None:
        return f"{self.topic}/{self.partition}/{self.offset}" if self.topic else None


def count_text(redrives: int) -> bytes:
    return f"{min(redrives, MAX_COUNT):02d}".encode()


def stack_digest(frames: Sequence[str]) -> str:
    """A digest that is equal for failures with the same stack; frames as `module:function:line`, the innermost last."""
    return hashlib.blake2b("\n".join(frames).encode(), digest_size=DIGEST_BYTES).hexdigest()


def place_of(text: str) -> DeadLetterPlace | None:
    """Parses `partition/offset`; None for any other text."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,18})", text, re.ASCII)
    return None if match is None else DeadLetterPlace(int(match[1]), int(match[2]))


def letter_of(record: Record) -> DeadLetter:
    """Never raises: headers that are missing or malformed get defaults, because any program may write to the topic."""
    text = {name: printable(value) for name, value in record.headers.items()}
    return DeadLetter(
        DeadLetterPlace(record.partition, record.offset),
        record.timestamp_ms,
        printable(record.key)[:MAX_SHOWN_CHARS],
        sys.intern(text.get(CAUSE, "unknown")),
        sys.intern(text.get(MESSAGE, "")[:MAX_SHOWN_CHARS]),
        sys.intern(text.get(STAGE, "unknown")),
        sys.intern(text.get(STACK_DIGEST, "")),
        sys.intern(text.get(STACK_FRAME, "").rstrip()),
        _number(text.get(ATTEMPTS), 1),
        _number(text.get(REDRIVE_COUNT), 0),
        sys.intern(text.get(ORIGINAL_TOPIC, "")),
        _number(text.get(ORIGINAL_PARTITION), -1),
        _number(text.get(ORIGINAL_OFFSET), -1),
        text.get(FIRST_FAILED_AT, ""),
        len(record.value),
        _number(text.get(ORIGINAL_SIZE), len(record.value)),
    )


def retry_record(record: Record, service: str) -> NewRecord:
    """A dead letter as a record of the service's retry topic: same bytes, key and headers, redrive count plus one.

    The record's size does not change with the number of redrives, because the count has a fixed length.
    """
    redrives = letter_of(record).redrives + 1
    headers = {**record.headers, REDRIVE_COUNT: count_text(redrives)}
    return NewRecord(retry_topic(service), record.key, record.value, headers)


def printable(value: bytes) -> str:
    return value.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else default
