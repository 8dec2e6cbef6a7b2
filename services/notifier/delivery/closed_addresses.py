"""Knows the closed addresses of one kind of channel, closes and opens them, and says when one is tried again.

A trial is one message that waits there. The first one of each sender comes soon, because it may have new settings.
Later ones are rare, because Discord bans senders of many invalid requests (10,000 in 10 minutes).
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from services.notifier.delivery.attempt import Attempt
from services.notifier.storage import postgres_claims as ledger
from services.notifier.storage import postgres_sending_hold as storage
from services.notifier.storage.postgres_claims import Claims
from shared.database.connection import DbConnection

FIRST_TRIAL_S, TRIAL_S = 60.0, 3_600.0
# Rows that are checked for their expiry at a time.
PAGE = 500

log = structlog.get_logger("notifier.sender")


class ClosedAddresses:
    """`addresses`: those that were closed at the last `refresh`. Used by one thread."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.addresses: Collection[str] = ()
        self._tried: set[str] = set()
        self._last_checked = 0

    def refresh(self, connection: DbConnection) -> None:
        self.addresses = storage.closed_addresses(connection, self._kind)

    def take_trial(self, connection: DbConnection) -> str | None:
        """The closed address to which one message may be sent now; None if there is none."""
        if not self.addresses:
            return None
        address = storage.take_trial(connection, self._kind, self._tried, FIRST_TRIAL_S, TRIAL_S)
        if address is not None:
            self._tried.add(address)
        return address

    def settle(self, connection: DbConnection, attempt: Attempt) -> None:
        """Close or open the address of an attempt. May be repeated."""
        address = attempt.claims[0].address
        if attempt.outcome == "closed":
            storage.close_address(connection, address, attempt.error)
            self._tried.add(address)
            log.error("channel_closed", channel=address, cause=attempt.error)
        elif attempt.outcome == "sent" and address in self.addresses:
            storage.open_addresses(connection, address)
            log.info("channel_opened", channel=address)

    def next_waiting(self, connection: DbConnection) -> Claims:
        """A page of what waits for closed addresses, to be checked for its expiry; the next call continues after it."""
        if not self.addresses:
            return ()
        rows = ledger.waiting_at(connection, self.addresses, self._last_checked, PAGE)
        self._last_checked = rows[-1].id if len(rows) == PAGE else 0
        return rows
