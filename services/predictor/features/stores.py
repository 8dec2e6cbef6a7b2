"""Layout of the history's data: the stores, their columns, and the keys of an entry in them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from services.predictor.data.events import DAY_US, Bools, Events, Floats, Ints
from services.predictor.data.profile import Profile
from services.predictor.features.form import ENTITY, ENTITY_LANE, ENTITY_VENUE, EQUIPMENT, LANE, MEETING, Means
from services.predictor.features.relative import event_mean
from services.predictor.features.versions import Versions

MEETING_BREAK_US = 5 * DAY_US
# Weight, in starts, of a lane's rates at all venues beside those at one venue.
LANE_PRIOR = 60.0
# Weight, in starts, of a lane's initial rates.
LANE_FIRST = 2.0

MEANS = {
    "entity": Means(ENTITY),
    "lane": Means(ENTITY_LANE),
    "venue": Means(ENTITY_VENUE),
    "meeting": Means(MEETING),
    "equipment": Means(EQUIPMENT),
    "rates": Means(LANE),
}
# Columns before the running means. All stores of ratings begin with these two.
HEAD = ("rating", "starts")
ENTITY_HEAD = (*HEAD, "last_us", "meeting")


class Rows(NamedTuple):
    """One item per component of the strength: rows in the stores, (...,) each, or the keys to look up."""

    entity: Any
    entity_lane: Any
    entity_venue: Any
    equipment: Any
    lane: Any
    everywhere: Any
    ability: Any


class Stores:
    """Columns: HEAD or ENTITY_HEAD, then the running means; the ability store has only a weight."""

    def __init__(self) -> None:
        self.entities = Versions(np.zeros(len(ENTITY_HEAD) + MEANS["entity"].width + MEANS["meeting"].width))
        self.entity_lanes, self.entity_venues, self.equipment, self.lanes = (
            Versions(np.zeros(len(HEAD) + MEANS[name].width)) for name in ("lane", "venue", "equipment", "rates")
        )
        self.ability = Versions(np.zeros(1))

    @property
    def each(self) -> tuple[Versions, ...]:
        return (self.entities, self.entity_lanes, self.entity_venues, self.equipment, self.lanes, self.ability)

    @property
    def by_row(self) -> tuple[Versions, ...]:
        """In the order of PerComponent."""
        return (*self.each[:-1], self.lanes, self.ability)

    def rewind(self, lengths: Sequence[int]) -> None:
        for store, length in zip(self.each, lengths, strict=True):
            store.rewind(length)

    def strength(self, rows: Rows, ability: Floats) -> Floats:
        """(...,) rows and ability -> (...,) strength, up to a constant per event."""
        total = self.ability.values[rows.ability][..., 0] * ability
        for store, at in zip(self.by_row[:-1], rows[:-1], strict=True):
            total = total + store.values[at, 0]
        return np.asarray(total)

    def lane_rates(self, rows: Ints, everywhere: Ints, slots: int) -> Floats:
        """(...,) rows of a lane at a venue and of the lane at all venues -> (..., means of LANE), shrunk."""
        half, head = len(LANE), len(HEAD)
        here, all_over = self.lanes.values[rows][..., head:], self.lanes.values[everywhere][..., head:]
        first = np.array([1 / slots, min(3 / slots, 1.0), 0.5, 1 / slots])
        prior = (all_over[..., :half] + LANE_FIRST * first) / (all_over[..., half:] + LANE_FIRST)
        found: Floats = (here[..., :half] + LANE_PRIOR * prior) / (here[..., half:] + LANE_PRIOR)
        return found


def keys_of(entity: list[Hashable], equipment: list[Hashable], venue: list[int], lane: list[int]) -> Rows:
    """Keys of entries, one list per component. Equipment is identified within its venue."""
    return Rows(
        entity=entity,
        entity_lane=[None if key is None else (key, at) for key, at in zip(entity, lane, strict=True)],
        entity_venue=[None if key is None else (key, at) for key, at in zip(entity, venue, strict=True)],
        equipment=[None if name is None else (at, name) for name, at in zip(equipment, venue, strict=True)],
        lane=list(zip(venue, lane, strict=True)),
        everywhere=[(None, at) for at in lane],
        ability=["ability"] * len(lane),
    )


def same_meeting(entity: Floats, meeting: Ints, when_us: Floats) -> Bools:
    """(...): whether the last start was in this meeting; a title that recurs after a break is another meeting."""
    number, last_us = ENTITY_HEAD.index("meeting"), ENTITY_HEAD.index("last_us")
    found: Bools = (entity[..., number] == meeting) & (when_us - entity[..., last_us] <= MEETING_BREAK_US)
    return found


def ability_of(events: Events, profile: Profile) -> Floats:
    """(n, S): the card's ability measure relative to the event's mean; 0 for unknown."""
    found = events.measures.get(profile.ability or "")
    return np.zeros(events.taken.shape) if found is None else np.nan_to_num(found - event_mean(found)[:, None])
