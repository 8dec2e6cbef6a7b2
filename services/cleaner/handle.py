"""The cleaner's batch handler: cleans raw records and encodes the facts as records for clean-events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.cleaner.clean import clean
from services.cleaner.filtered import Filtered
from shared.broker.contract import NewRecord
from shared.records import DecodedRecord, encode
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
            else:
                # Encoded at once: keeping thousands of message objects alive would slow down garbage collection.
                outputs.append(encode(cleaned, CLEAN, "clean-event/1", received.event_id, HOP, received.revision))
        return outputs
