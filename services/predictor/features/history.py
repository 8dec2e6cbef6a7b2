"""The history: settled events folded into ratings and running means, readable as of any instant. In memory.

Only the fold turns history into numbers. Training and serving fold the same events with the same code, so their
features are identical to the bit. The fold uses no model: rates are those of the events folded so far.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Events, Floats, Ints, Texts
from services.predictor.data.profile import Profile
from services.predictor.features.learning import FoldResult, learn
from services.predictor.features.starts import EventStarts, Starts, concatenate, starts_of
from services.predictor.features.stores import PerComponent, Stores
from services.predictor.features.tokens import TOKEN_NAMES
from services.predictor.features.versions import NO_ROW, VersionedStore

TAG_NAMES = ("settled_us", "venue", "meeting", "lane")
"""Fields of a past start that are compared with the event being encoded; they are not features themselves."""
NO_MEETING = 0


class FoldedEvent(NamedTuple):
    """An event in the history, with the lengths of the stores before it."""

    settled_us: float
    event_key: str
    store_lengths: list[int]


class History:
    """Only one thread may call `fold` at a time. Any thread may read while no fold is running."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.stores = Stores()
        self.starts = np.zeros((1, len(TOKEN_NAMES)), dtype=np.float32)
        self.tags = np.full((1, len(TAG_NAMES)), -1.0)
        self._meetings: dict[tuple[int, str | None], int] = {}
        self._folded: list[FoldedEvent] = []
        self._events: dict[str, EventStarts] = {}

    @property
    def entities(self) -> VersionedStore:
        """Its rows are also those of `starts` and `tags`: a start has the row of its entity's values after it."""
        return self.stores.entities

    def __len__(self) -> int:
        return len(self._folded)

    def fold(self, events: Events) -> None:
        """Adds settled events and removes events that are no longer settled.

        The result is that of one call with all events, in whatever order they come: a late or corrected event is
        inserted at its place, and the events after it are folded again.
        """
        settled = (events.status == "settled") & np.isfinite(events.settled_us)
        rows = {str(key): row for row, key in enumerate(events.event_key)}
        removed_keys = {key for key, row in rows.items() if key in self._events and not settled[row]}
        settled_rows = np.array([row for row in rows.values() if settled[row]], dtype=np.int64)
        starts = starts_of(events[settled_rows], self.profile)
        new = {}
        for row, (key, fingerprint) in enumerate(zip(starts.event_key.tolist(), starts.fingerprints(), strict=True)):
            if key not in self._events or self._events[key].fingerprint != fingerprint:
                new[str(key)] = EventStarts(starts, row, fingerprint)
        changed = [self._events[key] for key in (new.keys() | removed_keys) & self._events.keys()]
        if new or removed_keys:
            undone = self._rewind(min(place.order for place in [*new.values(), *changed]))
            refolded = {key: place for key, place in undone.items() if key not in removed_keys}
            self._append(sorted({**refolded, **new}.values(), key=lambda place: place.order))

    def meetings_of(self, venues: Ints, titles: Texts) -> Ints:
        """(n,): number of each event's meeting, by venue and title; NO_MEETING if the history does not have it."""
        pairs = zip(venues.tolist(), titles.tolist(), strict=True)
        return np.array([self._meetings.get(pair, NO_MEETING) for pair in pairs], dtype=np.int64)

    def strength(self, rows: PerComponent, ability: Floats) -> Floats:
        """(...,) rows and ability -> (...,) strength, up to a constant per event."""
        return self.stores.strength(rows, ability)

    def lane_rates(self, rows: Ints, everywhere: Ints) -> Floats:
        """(...,) rows of a lane at a venue and of the lane at all venues -> (..., means of LANE), shrunk."""
        return self.stores.lane_rates(rows, everywhere, self.profile.slots)

    def _rewind(self, to: tuple[float, str]) -> dict[str, EventStarts]:
        """Undoes the fold from this position on and returns the undone events."""
        at = bisect_left(self._folded, to, key=lambda item: item[:2])
        undone = self._folded[at:]
        if undone:
            self.stores.rewind(undone[0].store_lengths)
            del self._folded[at:]
        return {each.event_key: self._events.pop(each.event_key) for each in undone}

    def _append(self, places: list[EventStarts]) -> None:
        """Folds events that are in the history's order and come after all events in it."""
        if not places:
            return
        starts = concatenate(places)
        before = [len(store) for store in self.stores.all_stores]
        informative = starts[np.flatnonzero(starts.is_informative)]
        for pair in zip(informative.venue.tolist(), informative.title.tolist(), strict=True):
            self._meetings.setdefault(pair, len(self._meetings) + 1)
        meetings = self.meetings_of(informative.venue, informative.title)
        added = np.zeros((len(starts), len(before)), dtype=np.int64)
        if len(informative):
            result = learn(self.stores, informative, meetings)
            self._store_starts(informative, result, meetings)
            added[starts.is_informative] = result.added_rows
        lengths = before + np.cumsum(added, axis=0) - added
        for row, (place, length) in enumerate(zip(places, lengths.tolist(), strict=True)):
            self._folded.append(FoldedEvent(*place.order, length))
            self._events[place.order[1]] = EventStarts(starts, row, place.fingerprint)

    def _store_starts(self, starts: Starts, result: FoldResult, meetings: Ints) -> None:
        """Stores each start in the row of its entity's values after it."""
        while len(self.starts) < len(self.entities):
            self.starts = np.concatenate([self.starts, np.zeros_like(self.starts)])
            self.tags = np.concatenate([self.tags, np.full_like(self.tags, -1.0)])
        of_event = [np.broadcast_to(each[:, None], starts.lane.shape) for each in (starts.settled_us, starts.venue)]
        number = np.broadcast_to(meetings[:, None], starts.lane.shape)
        has_row = result.rows != NO_ROW
        self.starts[result.rows[has_row]] = result.tokens[has_row]
        self.tags[result.rows[has_row]] = np.stack([*of_event, number, starts.lane], axis=2)[has_row]
