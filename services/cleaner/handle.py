"""The cleaner's batch handler: cleans raw records and encodes the facts as records for clean-events.

In a replay, a record without a fact withdraws the fact that earlier rules may have made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.cleaner.clean import FACT_KINDS, clean
from services.cleaner.filtered import Filtered
from shared.broker.contract import NewRecord
from shared.events import RawEvent, Withdrawal
from shared.records import FETCHED_AT, LIVE, DecodedRecord, encode
from shared.topics import CLEAN

HOP = "cleaner"


class Cleaner:
    """`on_filtered` is called with the reason for each record that contains no fact."""

    def __init__(self, on_filtered: Callable[[str], None]) -> None:
        self._on_filtered = on_filtered

    def handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        outputs = []
        for received in batch:
            cleaned = clean(received.message)
            if isinstance(cleaned, Filtered):
                self._on_filtered(cleaned.reason)
                if received.revision != LIVE and received.message.feed in FACT_KINDS:
                    outputs.append(_withdrawal(received, cleaned.reason))
            else:
                # Encoded at once: keeping thousands of message objects alive would slow down garbage collection.
                output = encode(cleaned, CLEAN, "clean-event/1", received.event_id, HOP, received.revision)
                outputs.append(_with_fetch_time(output, received))
        return outputs


def _withdrawal(received: DecodedRecord, reason: str) -> NewRecord:
    raw: RawEvent = received.message
    message = Withdrawal(
        source=raw.source, event_key=raw.event_key, fact=FACT_KINDS[raw.feed], reason=reason,
        document_hash=raw.document_hash,
    )  # fmt: skip
    return encode(message, CLEAN, "withdrawal/1", received.event_id, HOP, received.revision)


def _with_fetch_time(output: NewRecord, received: DecodedRecord) -> NewRecord:
    """The output with the time of the fetch in a header, if its document was fetched live and this is no replay."""
    raw: RawEvent = received.message
    if raw.historical or received.revision != LIVE:
        return output
    return output._replace(headers={**output.headers, FETCHED_AT: raw.fetched_at.isoformat().encode()})
