"""All settled history, folded event by event, readable as of any instant. Pure, in memory.

The fold is the only place where history becomes numbers: training walks the same events through it that serving
does, so their features agree to the bit. It knows no model: rates are those of the events seen so far.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from services.predictor.facts import DAY_US, Bools, Events, Floats, Ints
from services.predictor.features.form import (
    ENTITY,
    ENTITY_LANE,
    ENTITY_VENUE,
    EQUIPMENT,
    LANE,
    MEETING,
    Means,
    beaten_share,
)
from services.predictor.features.rating import chances, expected_share, gradient
from services.predictor.features.relative import event_mean
from services.predictor.features.versions import Versions
from services.predictor.profile import Profile

# How ratings move: starts after which half as fast as at first, the first speed, the last.
ENTITY_PACE, EQUIPMENT_PACE, LANE_PACE = (8.0, 0.35, 0.05), (10.0, 0.10, 0.02), (60.0, 0.05, 0.004)
ENTITY_LANE_PACE, ENTITY_VENUE_PACE = (5.0, 0.03, 0.03), (5.0, 0.02, 0.02)
ABILITY_PACE = 0.0005
MEETING_BREAK_US = 5 * DAY_US
# Starts of a lane everywhere that count beside those at the venue.
LANE_PRIOR = 60.0
# A lane's rates before anything was seen, in starts.
LANE_FIRST = 2.0

MEANS = {
    "entity": Means(ENTITY),
    "lane": Means(ENTITY_LANE),
    "venue": Means(ENTITY_VENUE),
    "meeting": Means(MEETING),
    "equipment": Means(EQUIPMENT),
    "rates": Means(LANE),
}
# Columns in front of the running means.
ENTITY_HEAD = ("rating", "starts", "last_us", "meeting")
EQUIPMENT_HEAD = ("rating", "starts")
LANE_HEAD = ("rating", "starts")
PAIR_HEAD = ("rating", "starts")

TOKEN = (
    "won", "beaten", "top3", "unplaced", "false_start", "lane", "inner", "timing", "timing_lead", "pace_lead",
    "expected", "beaten_residual", "win_residual", "technique_1", "technique_2", "technique_3", "technique_4",
    "rivals", "grade",
)  # fmt: skip
"""What a past start tells the attention; unknown is 0."""
TAGS = ("settled_us", "venue", "meeting", "lane")
"""What is compared with the event that is looked at; not told by itself."""


class Place(NamedTuple):
    """Where an event's facts stand."""

    events: Events
    row: int

    def at(self, key: str) -> tuple[float, str]:
        return float(self.events.settled_us[self.row]), key

    def says_the_same(self, other: Place) -> bool:
        mine, theirs = self.events, other.events
        return all(
            np.array_equal(getattr(mine, name)[self.row], getattr(theirs, name)[other.row], equal_nan=True)
            for name in ("settled_us", "place", "code", "course", "timing_s", "technique")
        ) and list(mine.entity[self.row]) == list(theirs.entity[other.row])


class Rows(NamedTuple):
    """Where entries' versions lie in the stores; (...,) each, or the keys to look for."""

    entity: Any
    entity_lane: Any
    entity_venue: Any
    equipment: Any
    lane: Any
    everywhere: Any
    ability: Any


class Folded(NamedTuple):
    """An event in the history, with the stores' lengths before it."""

    settled_us: float
    event_key: str
    lengths: tuple[int, ...]


class History:
    """`fold` may come from one thread at a time; reading while nobody folds is safe from any."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.entities = Versions(np.zeros(len(ENTITY_HEAD) + MEANS["entity"].width + MEANS["meeting"].width))
        self.entity_lanes = Versions(np.zeros(len(PAIR_HEAD) + MEANS["lane"].width))
        self.entity_venues = Versions(np.zeros(len(PAIR_HEAD) + MEANS["venue"].width))
        self.equipment = Versions(np.zeros(len(EQUIPMENT_HEAD) + MEANS["equipment"].width))
        self.lanes = Versions(np.zeros(len(LANE_HEAD) + MEANS["rates"].width))
        self.ability = Versions(np.zeros(1))
        self.starts = np.zeros((1024, len(TOKEN)), dtype=np.float32)
        self.tags = np.full((1024, len(TAGS)), -1.0)
        self._meetings: dict[tuple[int, str | None], int] = {}
        self._folded: list[Folded] = []
        self._events: dict[str, Place] = {}

    @property
    def newest_us(self) -> float:
        """When the newest result in it became known; -inf: there is none."""
        return self._folded[-1].settled_us if self._folded else -np.inf

    def __len__(self) -> int:
        return len(self._folded)

    def fold(self, events: Events) -> None:
        """Take in settled events; others are passed over. Whatever the order of the calls, the outcome is that of
        one call with all events: what comes late, or again with another result, is put in its place."""
        settled = (events.status == "settled") & np.isfinite(events.settled_us)
        found = {str(key): Place(events, row) for row, key in enumerate(events.event_key)}
        new = {key: place for key, place in found.items() if settled[place.row] and self._differs(key, place)}
        gone = {key for key, place in found.items() if key in self._events and not settled[place.row]}
        if not new and not gone:
            return
        places = {**{key: self._events[key] for key in (new.keys() | gone) & self._events.keys()}}
        first = min([place.at(key) for key, place in [*new.items(), *places.items()]])
        undone = self._rewind(first)
        batch = {key: place for key, place in undone.items() if key not in gone} | new
        for key, place in sorted(batch.items(), key=lambda item: item[1].at(item[0])):
            self._take(key, place)

    def meeting_of(self, venue: int, title: str | None) -> int:
        """A number for the meeting; the same venue and title within the history is the same meeting."""
        return self._meetings.setdefault((venue, title), len(self._meetings) + 1)

    def lane_rates(self, rows: Ints, everywhere: Ints) -> Floats:
        """(...,) rows of a lane at a venue and of the lane everywhere -> (..., traces of LANE), shrunk."""
        half, head = len(LANE), len(LANE_HEAD)
        here, all_over = self.lanes.values[rows][..., head:], self.lanes.values[everywhere][..., head:]
        first = np.array([1 / self.profile.slots, min(3 / self.profile.slots, 1.0), 0.5, 1 / self.profile.slots])
        prior = (all_over[..., :half] + LANE_FIRST * first) / (all_over[..., half:] + LANE_FIRST)
        found: Floats = (here[..., :half] + LANE_PRIOR * prior) / (here[..., half:] + LANE_PRIOR)
        return found

    @property
    def by_row(self) -> tuple[Versions, ...]:
        """The stores in the order of Rows."""
        return (
            self.entities, self.entity_lanes, self.entity_venues, self.equipment, self.lanes, self.lanes, self.ability,
        )  # fmt: skip

    @property
    def _stores(self) -> tuple[Versions, ...]:
        return (self.entities, self.entity_lanes, self.entity_venues, self.equipment, self.lanes, self.ability)

    def _differs(self, key: str, place: Place) -> bool:
        known = self._events.get(key)
        return known is None or not known.says_the_same(place)

    def _rewind(self, to: tuple[float, str]) -> dict[str, Place]:
        """Undo everything from there on, and give the events that were undone."""
        at = bisect_left(self._folded, to, key=lambda item: item[:2])
        undone = self._folded[at:]
        if undone:
            for store, length in zip(self._stores, undone[0].lengths, strict=True):
                store.rewind(length)
            del self._folded[at:]
        return {each.event_key: self._events.pop(each.event_key) for each in undone}

    def _take(self, key: str, place: Place) -> None:
        when, _ = place.at(key)
        self._folded.append(Folded(when, key, tuple(len(store) for store in self._stores)))
        self._events[key] = place
        self._learn(_Start.of(*place, self.profile), when)

    def strength(self, rows: Rows, ability: Floats) -> Floats:
        """(...,) rows and standing by the card -> (...,) strength, up to a constant of the event."""
        parts = (self.entities, self.entity_lanes, self.entity_venues, self.equipment, self.lanes, self.lanes)
        total = self.ability.values[rows.ability][..., 0] * ability
        for store, at in zip(parts, rows[:-1], strict=True):
            total = total + store.values[at][..., 0]
        return np.asarray(total)

    def _learn(self, start: _Start, when: float) -> None:
        """One event's effect on everything that took part in it."""
        if start.started.sum() < 2:
            return
        meeting = self.meeting_of(start.venue, start.title)
        keys = start.keys()
        rows = Rows(*(np.array(store.latest(of)) for store, of in zip(self.by_row, keys, strict=True)))
        entity = self.entities.values[rows.entity]
        rates = self.lane_rates(rows.lane, rows.everywhere)
        strength = self.strength(rows, start.ability)
        pull = gradient(strength, start.place, start.started)
        found = self._found(start, strength, rates, entity)
        self._remember_starts(start, found, strength, meeting, when)

        fresh = entity.copy()
        fresh[:, 0] += _step(entity[:, 1], ENTITY_PACE) * pull
        fresh[:, 1] += 1
        fresh[:, 2] = when
        head, own = len(ENTITY_HEAD), MEANS["entity"]
        fresh[:, head : head + own.width] = own.after(entity[:, head : head + own.width], own.stacked(found))
        before = entity[:, head + own.width :] * same_meeting(entity, meeting, when)[:, None]
        fresh[:, head + own.width :] = MEANS["meeting"].after(before, MEANS["meeting"].stacked(found))
        fresh[:, 3] = meeting
        self.entities.append(when, start.there(keys.entity), fresh)
        for name, pace, store, of, at in zip(
            ("lane", "venue", "equipment", "rates", "rates"),
            (ENTITY_LANE_PACE, ENTITY_VENUE_PACE, EQUIPMENT_PACE, LANE_PACE, LANE_PACE),
            self.by_row[1:-1], keys[1:-1], rows[1:-1], strict=True,
        ):  # fmt: skip
            store.append(when, start.there(of), _rated(store.values[at], pull, pace, name, found))
        weight = self.ability.values[rows.ability[:1]] + ABILITY_PACE * float((pull * start.ability).sum())
        self.ability.append(when, keys.ability[:1], weight)

    def _found(self, start: _Start, strength: Floats, rates: Floats, entity: Floats) -> dict[str, Floats]:
        """What this event says, by name, (S,) each, NaN where it says nothing."""
        started, place, lane = start.started, start.place, start.lane
        expected = np.where(started, chances(strength, started), np.nan)
        beaten = beaten_share(place, started)
        won, top3 = _when(started, place == 1), _when(started, place <= 3)
        timing_mean, pace_mean = _mean_of(start.timing_s), _mean_of(start.pace)
        half, head = len(ENTITY), len(ENTITY_HEAD)
        own = MEANS["entity"].read(entity[:, head : head + 2 * half])
        own_pace = np.nan_to_num(own[:, _at("pace_lead_50")])
        own_timing = own[:, _at("timing_s_40")]
        pace_lead = np.clip(start.pace - pace_mean, -0.5, 0.5)
        inner = started & (lane == 1)
        passed = (start.technique in {3, 4}) & (place != 1)
        return {
            "won": won,
            "top3": top3,
            "beaten": beaten,
            "expected_win": expected,
            "win_residual": won - rates[:, 0],
            "top3_residual": top3 - rates[:, 1],
            "beaten_lane": beaten - rates[:, 2],
            "beaten_residual": beaten - expected_share(strength, started),
            "win_over_rating": won - expected,
            "timing_s": start.timing_s,
            "timing_lead_s": start.timing_s - timing_mean,
            "timing_spread_s": np.abs(start.timing_s - own_timing),
            "pace_lead": pace_lead,
            "pace_over_own": pace_lead - own_pace,
            "course_gain": start.slot - np.where(started, start.course, np.nan),
            "unplaced": _when(started, np.isnan(place)),
            "false_start": _when(started, start.false_start),
            **{f"technique_{k}": _when(started, (place == 1) & (start.technique == k)) for k in (1, 2, 3, 4)},
            "inner_won": np.where(inner, won - rates[:, 0], np.nan),
            "inner_passed": np.where(inner, np.where(passed, 1.0, 0.0), np.nan),
        }

    def _remember_starts(
        self, start: _Start, found: dict[str, Floats], strength: Floats, meeting: int, when: float
    ) -> None:
        """The token of each start lies in the row that its entity's values are about to get."""
        there = [place for place, key in enumerate(start.entity) if key is not None and start.started[place]]
        first = len(self.entities)
        while first + len(there) > len(self.starts):
            self.starts = np.concatenate([self.starts, np.zeros_like(self.starts)])
            self.tags = np.concatenate([self.tags, np.full_like(self.tags, -1.0)])
        rivals = _mean_of(np.where(start.started, strength, np.nan))
        table = np.stack(
            [
                found["won"], found["beaten"] - 0.5, found["top3"] - 0.5, found["unplaced"], found["false_start"],
                start.lane / self.profile.slots, start.lane == 1, (found["timing_s"] - 0.15) * 8,
                found["timing_lead_s"] * 10, found["pace_lead"] * 8, found["expected_win"],
                found["beaten_residual"], found["win_residual"],
                found["technique_1"], found["technique_2"], found["technique_3"], found["technique_4"],
                np.full(len(strength), rivals), np.full(len(strength), (start.grade - 3) / 2),
            ],
            axis=1,
        )  # fmt: skip
        self.starts[first : first + len(there)] = np.nan_to_num(table[there])
        tags = [(when, start.venue, meeting, start.lane[place]) for place in there]
        self.tags[first : first + len(there)] = tags


class _Start(NamedTuple):
    """One settled event, ready to be learned from. `lane`: the course taken, or the slot where that is unknown."""

    venue: int
    title: str | None
    grade: float
    technique: float
    slot: Floats
    lane: Floats
    course: Floats
    place: Floats
    timing_s: Floats
    pace: Floats
    false_start: Bools
    started: Bools
    ability: Floats
    entity: list[Hashable]
    equipment: list[Hashable]

    def keys(self) -> Rows:
        return keys_of(self.entity, self.equipment, [self.venue] * len(self.slot), [int(each) for each in self.lane])

    def there(self, keys: list[Hashable]) -> list[Hashable]:
        """None for those that did not take part."""
        return [key if part else None for key, part in zip(keys, self.started, strict=True)]

    @classmethod
    def of(cls, events: Events, row: int, profile: Profile) -> _Start:
        """What was observed counts only where it was known before the result was."""
        place, course = events.place[row], events.course[row]
        code = events.code[row]
        slot = np.arange(1.0, events.slots + 1)
        started = events.taken[row] & ((place == place) | (course == course))  # noqa: PLR0124
        for absent in profile.absent:
            started = started & (code != absent)
        seen = bool(events.observed_us[row] <= events.settled_us[row])
        pace = events.observed.get(profile.pace or "")
        venue = int(events.venue[row])
        return cls(
            venue=venue,
            title=events.session_title[row],
            grade=float(events.grade[row]),
            technique=float(events.technique[row]),
            slot=slot,
            lane=np.where(course == course, course, slot),  # noqa: PLR0124
            course=course,
            place=place,
            timing_s=np.where(started, events.timing_s[row], np.nan),
            pace=pace[row] if pace is not None and seen else np.full(len(slot), np.nan),
            false_start=np.isin(code, [float(each) for each in profile.false_start]),
            started=started,
            ability=_standing(events.measures.get(profile.ability or ""), row, events.slots),
            entity=list(events.entity[row]),
            equipment=equipment_keys(events, row, profile),
        )


def same_meeting(entity: Floats, meeting: int | Ints, when_us: float | Floats) -> Bools:
    """(...): whether the last start was of this meeting; a title that comes back after a break is another one."""
    found: Bools = (entity[..., 3] == meeting) & (when_us - entity[..., 2] <= MEETING_BREAK_US)
    return found


def keys_of(entity: list[Hashable], equipment: list[Hashable], venue: list[int], lane: list[int]) -> Rows:
    """Keys of entries, one list a store."""
    return Rows(
        entity=entity,
        entity_lane=[key and (key, at) for key, at in zip(entity, lane, strict=True)],
        entity_venue=[key and (key, at) for key, at in zip(entity, venue, strict=True)],
        equipment=equipment,
        lane=list(zip(venue, lane, strict=True)),
        everywhere=[(0, at) for at in lane],
        ability=["ability"] * len(lane),
    )


def ability_of(events: Events, profile: Profile) -> Floats:
    """(n, S): what the card says of each entry's strength, against the event's mean; 0 for unknown."""
    found = events.measures.get(profile.ability or "")
    return np.zeros(events.taken.shape) if found is None else np.nan_to_num(found - event_mean(found)[:, None])


def _standing(found: Floats | None, row: int, slots: int) -> Floats:
    """(S,): the same of one event."""
    if found is None:
        return np.zeros(slots)
    return np.nan_to_num(found[row] - event_mean(found[row : row + 1]))


def equipment_keys(events: Events, row: int, profile: Profile) -> list[Hashable]:
    """The same name at the same venue is the same piece; None where it is unknown."""
    names = events.categories.get(profile.equipment or "")
    if names is None:
        return [None] * events.slots
    return [name and (int(events.venue[row]), name) for name in names[row]]


def _rated(
    before: Floats, pull: Floats, pace: tuple[float, float, float], name: str, found: dict[str, Floats]
) -> Floats:
    """Rating, starts and running means after the event: columns [rating, starts | means]."""
    made = before.copy()
    made[:, 0] += _step(before[:, 1], pace) * pull
    made[:, 1] += 1
    made[:, 2:] = MEANS[name].after(before[:, 2:], MEANS[name].stacked(found))
    return made


def _step(starts: Floats, pace: tuple[float, float, float]) -> Floats:
    half_after, first, last = pace
    found: Floats = last + (first - last) / (1 + starts / half_after)
    return found


def _when(there: Bools, value: Bools) -> Floats:
    return np.where(there, np.where(value, 1.0, 0.0), np.nan)


def _mean_of(values: Floats) -> float:
    known = values[values == values]  # noqa: PLR0124
    return float(known.mean()) if len(known) else np.nan


def _at(name: str) -> int:
    return [trace.name for trace in ENTITY].index(name)
