"""What is done with a notification that is claimed: send it, hold it, or drop it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

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
