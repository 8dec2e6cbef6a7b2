"""Settled events reduced to what the history reads of them, with fingerprints to recognise unchanged events."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Events, Floats, Ints, Texts
from services.predictor.data.profile import Profile
from services.predictor.features.stores import ability_of


@dataclass(frozen=True)
class Starts:
    """n events of S slots. `lane`: the course taken, or the slot if that is unknown. `ability`: relative to the event's
    mean. `pace`: only if it was observed before the result was known."""

    event_key: Texts
    settled_us: Floats
    venue: Ints
    title: Texts
    grade: Floats
    technique: Floats
    lane: Ints
    course: Floats
    place: Floats
    timing_s: Floats
    pace: Floats
    false_start: Bools
    started: Bools
    ability: Floats
    entity: Texts
    equipment: Texts

    def __len__(self) -> int:
        return len(self.event_key)

    def __getitem__(self, rows: Ints | list[int]) -> Starts:
        return Starts(*(getattr(self, each.name)[rows] for each in fields(self)))

    @property
    def is_informative(self) -> Bools:
        """(n,): whether at least two entries started; other events do not affect the history."""
        return np.asarray(self.started.sum(axis=1) >= 2)

    def fingerprints(self) -> list[bytes]:
        """One per event; events with equal fingerprints have the same effect on the history."""
        columns = [getattr(self, each.name) for each in fields(self)[1:]]
        numbers = [np.atleast_2d(each.T).T.astype(np.float64) for each in columns if each.dtype != np.object_]
        table = np.concatenate(numbers, axis=1)
        table[np.isnan(table)] = np.nan
        texts = zip(*(each.tolist() for each in columns if each.dtype == np.object_), strict=True)
        return [
            hashlib.blake2b(line.tobytes() + repr(text).encode(), digest_size=16).digest()
            for line, text in zip(table, texts, strict=True)
        ]


class EventStarts(NamedTuple):
    """One event: a row of `starts`."""

    starts: Starts
    row: int
    fingerprint: bytes

    @property
    def order(self) -> tuple[float, str]:
        """The history's order: by the time the result was known, then by event key."""
        return float(self.starts.settled_us[self.row]), str(self.starts.event_key[self.row])


def starts_of(events: Events, profile: Profile) -> Starts:
    slot = np.broadcast_to(np.arange(1.0, events.slots + 1), events.occupied.shape)
    started = events.occupied & ~(np.isnan(events.place) & np.isnan(events.course))
    started = started & ~np.isin(events.code, [float(code) for code in profile.absent])
    unknown = np.full(events.occupied.shape, np.nan)
    before = (events.observed_us <= events.settled_us)[:, None]
    return Starts(
        event_key=events.event_key,
        settled_us=events.settled_us,
        venue=events.venue,
        title=events.session_title,
        grade=events.grade,
        technique=events.technique,
        lane=np.where(np.isnan(events.course), slot, events.course).astype(np.int64),
        course=events.course,
        place=events.place,
        timing_s=np.where(started, events.timing_s, np.nan),
        pace=np.where(before, events.observed.get(profile.pace or "", unknown), np.nan),
        false_start=np.isin(events.code, [float(code) for code in profile.false_start]),
        started=started,
        ability=ability_of(events, profile),
        entity=events.entity,
        equipment=equipment_of(events, profile),
    )


def equipment_of(events: Events, profile: Profile) -> Texts:
    """(n, S): identifier of the equipment lent to each entity; None if unknown."""
    return events.categories.get(profile.equipment or "", np.full(events.occupied.shape, None, dtype=object))


def concatenate(places: Sequence[EventStarts]) -> Starts:
    """Concatenates events, in the given order."""
    parts: dict[int, tuple[Starts, list[int], list[int]]] = {}
    for at, place in enumerate(places):
        _, rows, positions = parts.setdefault(id(place.starts), (place.starts, [], []))
        rows.append(place.row)
        positions.append(at)
    chosen = [starts[rows] for starts, rows, _ in parts.values()]
    order = np.argsort(np.concatenate([np.array(positions) for _, _, positions in parts.values()]))
    return Starts(*(np.concatenate([getattr(part, each.name) for part in chosen])[order] for each in fields(Starts)))
