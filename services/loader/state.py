"""The loader's state of one event."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.loader.fold import FactVersion


@dataclass
class EventState:
    """Current state of an event; `versions` by kind, in order of arrival; `id` is None until its row is inserted."""

    event_key: str
    id: int | None = None
    scheduled_at: datetime | None = None
    status: str = "listed"
    version: int = 0
    versions: dict[str, list[FactVersion]] = field(default_factory=dict)
    withdrawn: dict[str, dict[UUID, str]] = field(default_factory=dict)
    """By kind, the records that state no fact any more, with the revision that withdrew it."""
    version_counts: dict[str, int] = field(default_factory=dict)
    """How many versions of each kind have been stored; the next version has this number plus one."""

    def withdraw(self, kind: str, record_id: UUID, revision: str) -> None:
        """Remove the version of a record."""
        self.withdrawn.setdefault(kind, {})[record_id] = revision
        self.versions[kind] = [each for each in self.versions.get(kind, ()) if each.record_id != record_id]
