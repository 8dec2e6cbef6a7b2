"""What is known of an event."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from services.loader.fold import Version


@dataclass
class EventState:
    """An event as it stands; `versions` by kind, oldest arrival first; `id` is None until its row is made."""

    event_key: str
    id: int | None = None
    scheduled_at: datetime | None = None
    status: str = "listed"
    version: int = 0
    versions: dict[str, list[Version]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    """How many versions of a kind were ever stored: the next one's number less one."""
