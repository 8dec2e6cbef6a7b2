"""Defines the holds on sending, to all addresses or to a closed one, and tells other threads whether there is one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

# The address of the hold on all messages.
EVERYWHERE = ""


class ClosedAddress(NamedTuple):
    """Messages to the address wait since this time, because of this cause. `waiting`: how many.

    `tried_at`: when one was last sent there; None if one is to be sent at once.
    """

    address: str
    since: datetime
    cause: str
    tried_at: datetime | None
    waiting: int


class SendingHold(NamedTuple):
    """No message is sent since this time of the database, because of this cause."""

    since: datetime
    cause: str

    @property
    def message(self) -> str:
        return (
            f"no message is sent since {self.since:%Y-%m-%d %H:%M} UTC: {self.cause}. `headrace notifications list"
            " --state pending` shows what waits; `headrace notifications discard --until TIME --reason TEXT` discards"
            " what people have received, then `headrace notifications release` sends the rest"
        )


class SendingStatus:
    """The hold as the sender last read it. `report` is called with 1 while there is one, otherwise with 0."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report
        self._hold: SendingHold | None = None

    def update(self, hold: SendingHold | None) -> None:
        self._hold = hold
        self._report(float(hold is not None))

    def problem(self) -> str:
        """Why no message is sent, and what to do; empty if messages are sent."""
        hold = self._hold
        return "" if hold is None else hold.message
