"""A record that a service could not handle, as a record of its dead-letter topic. Pure."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid5

from shared.broker.contract import NewRecord
from shared.events import NAMESPACE
from shared.runtime.batch import Failed
from shared.topics import dead_letter_topic, retry_topic

# Long enough for a cause, short enough that headers stay a small part of a record.
LONGEST_MESSAGE_BYTES = 1024
# What a dead letter that was sent back to be tried again keeps of its first failure.
_FIRST = ("dlq.original-", "dlq.first-failed-at", "dlq.redrive-count")


def dead_letter(service: str, failed: Failed, at: datetime) -> NewRecord:
    """The original key, bytes and headers, and beside them what failed, where, and `at` which time."""
    record = failed.record
    tried_again = record.topic == retry_topic(service)
    kept = {name: value for name, value in record.headers.items() if tried_again and name.startswith(_FIRST)}
    headers = {
        "event_id": str(uuid5(NAMESPACE, record.place)).encode(),  # where the record brings none of its own
        **record.headers,
        "dlq.original-topic": record.topic.encode(),
        "dlq.original-partition": str(record.partition).encode(),
        "dlq.original-offset": str(record.offset).encode(),
        "dlq.original-timestamp": str(record.timestamp_ms).encode(),
        "dlq.original-group": service.encode(),
        "dlq.first-failed-at": at.isoformat().encode(),
        "dlq.redrive-count": b"0",
        **kept,
        "dlq.stage": failed.stage.encode(),
        "dlq.exception-class": type(failed.error).__name__.encode(),
        "dlq.exception-message": message_of(failed.error).encode(),
        "dlq.attempts": str(failed.attempts).encode(),
    }
    return NewRecord(dead_letter_topic(service), record.key, record.value, headers)


def message_of(error: BaseException) -> str:
    """What an error says, cut to 1 KB of UTF-8 and without what JSON or PostgreSQL cannot hold."""
    text = str(error).replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace")
    return text[:LONGEST_MESSAGE_BYTES].decode(errors="ignore")
