"""The state of one window: its committed cursor, and what this run did with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.fetcher.planning.cursor import WindowStatus

NEW_STATUS = WindowStatus()


@dataclass
class WindowState:
    """`value` is the encoded cursor, None before the first fetch, and `status` is decoded from it. The other fields
    describe this run: `checked_at` is the time of the last fetch."""

    value: bytes | None = None
    status: WindowStatus = NEW_STATUS
    checked_at: datetime | None = None
    retry_at: datetime | None = None
    is_missing: bool = False
    is_in_flight: bool = False

    def is_due(self, now: datetime, every_s: float) -> bool:
        return self.checked_at is None or now >= self.checked_at + timedelta(seconds=every_s)
