"""Caches the history of each source and keeps it in step with the tables. Facts are passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from services.predictor.data.events import EventFacts, events_of
from services.predictor.data.profile import Profile, profile_of, source_of
from services.predictor.features.history import History
from services.predictor.storage.interface import Changes, Position

# Number of changed events read at a time; a replay of a whole archive changes many.
BATCH_EVENTS = 2000

log = structlog.get_logger("predictor")


class SettledFacts(Protocol):
    """The facts that a history is built from (services/predictor/storage/postgres_facts.py)."""

    def settled(self) -> list[EventFacts]: ...

    def changes(self, after: Position | None) -> Changes: ...

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]: ...


class HistoryCache:
    """The first `refresh` reads years of events, which takes tens of seconds; later ones read what changed since."""

    def __init__(self, facts: SettledFacts, profiles: Mapping[str, Profile]) -> None:
        self._facts = facts
        self._profiles = profiles
        self._histories: dict[str, History] = {}
        self._position: Position | None = None

    def history(self, source: str) -> History | None:
        """None: there is no profile for this source."""
        profile = profile_of(self._profiles, source)
        if profile is None:
            return None
        return self._histories.setdefault(source, History(profile))

    def refresh(self) -> None:
        """Raises TransientError if the database is unavailable."""
        try:
            if self._position is None:
                self._position = self._read_all()
            changes = self._facts.changes(self._position)
            for keys in _chunks([change.event_key for change in changes.events], BATCH_EVENTS):
                self._fold(self._facts.events(keys))
            self._position = changes.position
        except BaseException:
            # An interrupted fold leaves a history that is wrong, without any sign of it.
            self._histories.clear()
            self._position = None
            raise

    def _read_all(self) -> Position:
        """Reads the position first: what is written during the rest of the read comes after it and is read again."""
        position = self._facts.changes(None).position
        self._fold(self._facts.settled())
        for source, history in self._histories.items():
            log.info("history_loaded", source=source, events=len(history))
        return position

    def _fold(self, events: Sequence[EventFacts]) -> None:
        by_source: dict[str, list[EventFacts]] = {}
        for event in events:
            by_source.setdefault(source_of(event.event_key), []).append(event)
        for source, source_events in by_source.items():
            if (history := self.history(source)) is not None:
                history.fold(events_of(source_events, history.profile.slots))


def _chunks(keys: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))
