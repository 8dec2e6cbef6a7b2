"""The rules that delivery needs: when a notification may be sent, and at which pace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from services.notifier.pacing import RateLimit

Mutes = Mapping[str, datetime]
"""The rules that are muted, and until when."""


class SendNow(NamedTuple):
    """The notification may be sent."""


class HoldUntil(NamedTuple):
    """The notification must not be sent before `at`."""

    at: datetime


class Drop(NamedTuple):
    """The notification is not sent any more."""

    reason: str


Disposition = SendNow | HoldUntil | Drop


class DeliveryRules(Protocol):
    """Decides about a notification after it was claimed, so that a change of the rules or a mute holds at once."""

    def disposition(
        self, rule: str, address: str, created_at: datetime, now: datetime, mutes: Mutes
    ) -> Disposition: ...

    def pace(self, address: str) -> RateLimit | None:
        """How many messages the people at this address want; None for no limit.

        When a message takes the last token, everything that waits for the address goes with it as one digest.
        """
        ...

    def alerts(self) -> frozenset[str]:
        """The rules about the pipeline. Their notifications go first, wait for no pace and are in no digest."""
        ...


class SendEverything:
    """The rules that hold, drop and pace nothing."""

    def disposition(self, *_: object) -> Disposition:
        return SendNow()

    def pace(self, _address: str) -> RateLimit | None:
        return None

    def alerts(self) -> frozenset[str]:
        return frozenset()
