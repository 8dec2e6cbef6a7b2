"""Creates the dead-letter record of a record that a service could not handle."""

from __future__ import annotations

import hashlib
from datetime import datetime
from types import TracebackType
from typing import NamedTuple
from uuid import uuid5

from shared.broker.contract import NewRecord, Record
from shared.broker.record_size import MAX_RECORD_BYTES, size_of
from shared.events import NAMESPACE
from shared.ops import dead_letters as names
from shared.topics import dead_letter_topic, retry_topic

# Long enough for a cause, short enough that headers stay a small part of a record.
LONGEST_MESSAGE_BYTES = 1024
# Of a key that is too large itself.
_SHORT_KEY_BYTES = 1024
# The headers of the first failure, which a redriven dead letter keeps when it fails again.
_FIRST_FAILURE_HEADERS = ("dlq.original-", names.FIRST_FAILED_AT, names.REDRIVE_COUNT)
# The headers that a letter needs even if those of its record are too large.
_OWN_HEADERS = ("dlq.", "event_id", "revision")
# Only these frames are recorded: those of libraries and the interpreter change with their versions.
_OWN_PACKAGES = ("services.", "shared.")


def dead_letter(service: str, failed: FailedRecord, at: datetime, max_bytes: int = MAX_RECORD_BYTES) -> NewRecord:
    """The dead letter: the original key, value and headers, plus headers about the failure. `at` is its time.

    Its size does not depend on how often the record was redriven. The end of the value is cut off if the letter would
    be larger than `max_bytes`.
    """
    record = failed.record
    tried_again = record.topic == retry_topic(service)
    first_failure = {
        name: value for name, value in record.headers.items() if tried_again and name.startswith(_FIRST_FAILURE_HEADERS)
    }
    frames = frames_of(failed.error.__traceback__)
    headers = {
        "event_id": str(uuid5(NAMESPACE, record.place)).encode(),  # replaced by the record's own event_id, if any
        **record.headers,
        names.ORIGINAL_TOPIC: record.topic.encode(),
        names.ORIGINAL_PARTITION: str(record.partition).encode(),
        names.ORIGINAL_OFFSET: str(record.offset).encode(),
        names.ORIGINAL_TIMESTAMP: str(record.timestamp_ms).encode(),
        names.ORIGINAL_GROUP: service.encode(),
        names.FIRST_FAILED_AT: at.isoformat(timespec="microseconds").encode(),
        names.REDRIVE_COUNT: names.count_text(0),
        **first_failure,
        names.STAGE: failed.stage.encode(),
        names.CAUSE: type(failed.error).__name__.encode(),
        names.MESSAGE: message_of(failed.error).encode(),
        names.ATTEMPTS: str(failed.attempts).encode(),
        names.STACK_DIGEST: names.stack_digest(frames).encode(),
        names.STACK_FRAME: frames[-1].encode()[: names.MAX_FRAME_BYTES] if frames else b"",
    }
    letter = NewRecord(dead_letter_topic(service), record.key, record.value, headers)
    return letter if size_of(letter) <= max_bytes else _cut(letter, max_bytes)


def _cut(letter: NewRecord, max_bytes: int) -> NewRecord:
    """The letter with the end of its value cut off. Its message says so; headers have the size and hash of the whole.

    A record may be nearly as large as a topic allows, and the headers about the failure add to it. If its own headers
    or its key are too large, they are cut too.
    """
    value = letter.value
    about_value = {
        names.ORIGINAL_SIZE: str(len(value)).encode(),
        names.ORIGINAL_SHA256: hashlib.sha256(value).hexdigest().encode(),
    }
    envelope = letter._replace(value=b"", headers={**about_value, **letter.headers})
    if size_of(envelope) > max_bytes // 2:
        own = {name: each for name, each in envelope.headers.items() if name.startswith(_OWN_HEADERS)}
        envelope = envelope._replace(key=letter.key[:_SHORT_KEY_BYTES], headers=own)
    room = max(0, max_bytes - size_of(envelope) - LONGEST_MESSAGE_BYTES)
    note = f"(the value is cut to {min(room, len(value)):,} of {len(value):,} bytes) ".encode()
    message = (note + letter.headers[names.MESSAGE])[:LONGEST_MESSAGE_BYTES].decode(errors="ignore").encode()
    return envelope._replace(value=value[:room], headers={**envelope.headers, names.MESSAGE: message})


def frames_of(trace: TracebackType | None) -> list[str]:
    """The Headrace frames of an error as `module:function:line`, innermost last; all frames if none is Headrace's.

    Each frame is listed once, so that recursion depth and re-raising do not make equal faults look different.
    """
    frames: list[str] = []
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        frames.append(f"{module}:{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    own_frames = [frame for frame in frames if frame.startswith(_OWN_PACKAGES)]
    return list(dict.fromkeys(own_frames or frames))


def message_of(error: BaseException) -> str:
    """The error's message, truncated to 1 KB of UTF-8, without characters that JSON or PostgreSQL cannot store."""
    text = str(error).replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace")
    return text[:LONGEST_MESSAGE_BYTES].decode(errors="ignore")


class FailedRecord(NamedTuple):
    """A record that could not be handled: its error, the stage (decode, handle), and how often it was tried alone."""

    record: Record
    error: Exception
    stage: str
    attempts: int
