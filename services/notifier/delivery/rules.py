"""The rules that delivery needs: when a notification may be sent, and at which pace."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from services.notifier.disposition import Disposition, Mutes, SendNow
from services.notifier.pacing import RateLimit


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
