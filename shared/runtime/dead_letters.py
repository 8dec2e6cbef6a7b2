"""A record that a service could not handle, as a record of its dead-letter topic. Pure."""

from __future__ import annotations

from datetime import datetime

from shared.broker.contract import NewRecord, Record
from shared.topics import dead_letter_topic

# Long enough for a cause, short enough that headers stay a small part of a record.
LONGEST_MESSAGE = 1000


def dead_letter(service: str, record: Record, error: BaseException, attempts: int, at: datetime) -> NewRecord:
    """The original key, bytes and headers, and beside them why, where and when."""
    headers = dict(record.headers) | {
        "dlq.original-topic": record.topic.encode(),
        "dlq.original-partition": str(record.partition).encode(),
        "dlq.original-offset": str(record.offset).encode(),
        "dlq.original-timestamp": str(record.timestamp_ms).encode(),
        "dlq.service": service.encode(),
        "dlq.error": type(error).__name__.encode(),
        "dlq.message": str(error)[:LONGEST_MESSAGE].encode(errors="replace"),
        "dlq.attempts": str(attempts).encode(),
        "dlq.failed-at": at.isoformat().encode(),
    }
    return NewRecord(dead_letter_topic(service), record.key, record.value, headers)
