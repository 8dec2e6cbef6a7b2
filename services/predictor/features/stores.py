"""Layout of the history's data: the stores, their columns, and the keys of an entry in them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from services.predictor.data.events import DAY_US, Bools, Events, Floats, Ints
from services.predictor.data.profile import Profile
from services.predictor.features.form import ENTITY, ENTITY_LANE, ENTITY_VENUE, EQUIPMENT, LANE, MEETING, RunningMeans
from services.predictor.features.relative import event_mean
from services.predictor.features.versions import VersionedStore

MEETING_BREAK_US = 5 * DAY_US
# Weight, in starts, of a lane's rates at all venues beside those at one venue.
VENUE_PRIOR_STARTS = 60.0
# Weight, in starts, of a lane's initial rates.
INITIAL_STARTS = 2.0

MEANS = {
    "entity": RunningMeans(ENTITY),
    "lane": RunningMeans(ENTITY_LANE),
    "venue": RunningMeans(ENTITY_VENUE),
    "meeting": RunningMeans(MEETING),
    "equipment": RunningMeans(EQUIPMENT),
    "rates": RunningMeans(LANE),
}
# Columns before the running means. All stores of ratings begin with these two.
HEAD = ("rating", "starts")
ENTITY_HEAD = (*HEAD, "last_us", "meeting")


class PerComponent(NamedTuple):
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
        self.entities = VersionedStore(np.zeros(len(ENTITY_HEAD) + MEANS["entity"].width + MEANS["meeting"].width))
        self.entity_lanes, self.entity_venues, self.equipment, self.lanes = (
            VersionedStore(np.zeros(len(HEAD) + MEANS[name].width)) for name in ("lane", "venue", "equipment", "rates")
        )
        self.ability = VersionedStore(np.zeros(1))

    @property
    def all_stores(self) -> tuple[VersionedStore, ...]:
        return (self.entities, self.entity_lanes, self.entity_venues, self.equipment, self.lanes, self.ability)

    @property
    def by_component(self) -> tuple[VersionedStore, ...]:
        """In the order of PerComponent."""
        return (*self.all_stores[:-1], self.lanes, self.ability)

    def rewind(self, lengths: Sequence[int]) -> None:
        for store, length in zip(self.all_stores, lengths, strict=True):
            store.rewind(length)

    def strength(self, rows: PerComponent, ability: Floats) -> Floats:
        """(...,) rows and ability -> (...,) strength, up to a constant per event."""
        total = self.ability.values[rows.ability][..., 0] * ability
        for store, at in zip(self.by_component[:-1], rows[:-1], strict=True):
            total = total + store.values[at, 0]
        return np.asarray(total)

    def lane_rates(self, rows: Ints, everywhere: Ints, slots: int) -> Floats:
        """(...,) rows of a lane at a venue and of the lane at all venues -> (..., means of LANE), shrunk."""
        half, head = len(LANE), len(HEAD)
        here, all_over = self.lanes.values[rows][..., head:], self.lanes.values[everywhere][..., head:]
        first = np.array([1 / slots, min(3 / slots, 1.0), 0.5, 1 / slots])
        prior = (all_over[..., :half] + INITIAL_STARTS * first) / (all_over[..., half:] + INITIAL_STARTS)
        rates: Floats = (here[..., :half] + VENUE_PRIOR_STARTS * prior) / (here[..., half:] + VENUE_PRIOR_STARTS)
        return rates


def keys_of(entity: list[Hashable], equipment: list[Hashable], venue: list[int], lane: list[int]) -> PerComponent:
    """Keys of entries, one list per component. Equipment is identified within its venue."""
    return PerComponent(
        entity=entity,
        entity_lane=[None if key is None else (key, at) for key, at in zip(entity, lane, strict=True)],
        entity_venue=[None if key is None else (key, at) for key, at in zip(entity, venue, strict=True)],
        equipment=[None if name is None else (at, name) for name, at in zip(equipment, venue, strict=True)],
        lane=list(zip(venue, lane, strict=True)),
        everywhere=[(None, at) for at in lane],
        ability=["ability"] * len(lane),
    )


def is_same_meeting(entity: Floats, meeting: Ints, when_us: Floats) -> Bools:
    """(...): whether the last start was in this meeting; a title that recurs after a break is another meeting."""
    number, last_us = ENTITY_HEAD.index("meeting"), ENTITY_HEAD.index("last_us")
    same: Bools = (entity[..., number] == meeting) & (when_us - entity[..., last_us] <= MEETING_BREAK_US)
    return same


def ability_of(events: Events, profile: Profile) -> Floats:
    """(n, S): the card's ability measure relative to the event's mean; 0 for unknown."""
    values = events.measures.get(profile.ability or "")
    return np.zeros(events.occupied.shape) if values is None else np.nan_to_num(values - event_mean(values)[:, None])
