"""Dead letters: what their headers say, and how one is sent back to be tried again."""

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
STACK_DIGEST = "dlq.stack-digest"
STACK_FRAME = "dlq.stack-frame"

# Two digits, so that a record does not grow: `force` goes on beyond, the count does not.
HIGHEST_COUNT = 99
DIGEST_BYTES = 8
LONGEST_FRAME_BYTES = 120
# Of the index's memory: what a list shows of a key or a message. The whole is where the letter is looked at.
LONGEST_SHOWN = 200


class Place(NamedTuple):
    """Where a dead letter lies in its service's dead-letter topic; as text `partition/offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


class Letter(NamedTuple):
    """What is known of a dead letter without its payload. `at_ms` is when it was put there; the origin is nothing
    (an empty topic, -1) where no record was read: the fetcher's."""

    place: Place
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

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)

    @property
    def origin(self) -> str | None:
        return f"{self.topic}/{self.partition}/{self.offset}" if self.topic else None


def count_text(redrives: int) -> bytes:
    return f"{min(redrives, HIGHEST_COUNT):02d}".encode()


def stack_digest(frames: Sequence[str]) -> str:
    """The same for the same way to fail; frames as `module:function:line`, the innermost last."""
    return hashlib.blake2b("\n".join(frames).encode(), digest_size=DIGEST_BYTES).hexdigest()


def place_of(text: str) -> Place | None:
    """None where it is no `partition/offset`."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,18})", text, re.ASCII)
    return None if found is None else Place(int(found[1]), int(found[2]))


def letter_of(record: Record) -> Letter:
    """Whatever it holds: a dead letter may have been written by anybody."""
    text = {name: printable(value) for name, value in record.headers.items()}
    return Letter(
        Place(record.partition, record.offset),
        record.timestamp_ms,
        printable(record.key)[:LONGEST_SHOWN],
        sys.intern(text.get(CAUSE, "unknown")),
        sys.intern(text.get(MESSAGE, "")[:LONGEST_SHOWN]),
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
    )


def sent_back(record: Record, service: str) -> NewRecord:
    """A dead letter as a record of the service's retry topic: its bytes, key and headers, counted once more.

    It keeps its size, however often this is done: what changes in it has a fixed length.
    """
    redrives = letter_of(record).redrives + 1
    headers = {**record.headers, REDRIVE_COUNT: count_text(redrives)}
    return NewRecord(retry_topic(service), record.key, record.value, headers)


def printable(value: bytes) -> str:
    return value.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else otherwise
