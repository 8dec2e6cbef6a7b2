"""A synthetic source with the irregularities of real ones: entries that do not start, events without a winner or called
off, unknown measures, empty slots, repeated titles. All names and numbers are random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.predictor.data.events import EntryFacts, EventFacts, Events, events_of
from services.predictor.data.profile import Profile

MINUTE_US = 60_000_000.0
HOUR_US, DAY_US = 60 * MINUTE_US, 1440 * MINUTE_US
FIRST_DAY = 25_000

SYNTHETIC = Profile(
    name="synthetic",
    slots=6,
    late=frozenset({"weight_kg", "hull_number", "distance_m"}),
    ability="points",
    equipment="motor_number",
    pace="lap_s",
    timing="practice_timing_s",
    false_start=frozenset({14}),
    absent=frozenset({15, 16}),
    identities=frozenset({"motor_number", "hull_number"}),
    condition_codes=frozenset({"weather"}),
)
DUEL = Profile(name="duel", slots=2, ability="belt")
TRIO = Profile(name="trio", slots=3)


def event(key: str = "a", *entries: EntryFacts, at_us: float = FIRST_DAY * DAY_US, **changes: Any) -> EventFacts:
    """Settled at `at_us`, observed 20 minutes and listed a day before it."""
    fields: dict[str, Any] = {
        "session_key": "synthetic:1",
        "day": int(at_us // DAY_US),
        "venue": 1,
        "number": 1,
        "status": "settled",
        "listed_us": at_us - DAY_US,
        "observed_us": at_us - 20 * MINUTE_US,
        "settled_us": at_us,
        "scheduled_us": at_us - 20 * MINUTE_US,
        "session_title": "spring",
    }
    return EventFacts(event_key=key, entries=entries, **(fields | changes))


def placed_entries(*places: float | None, first: int = 1, **changes: Any) -> list[EntryFacts]:
    """Entries synthetic:1, synthetic:2 ... in the slots from 1 on, with these places."""
    return [
        EntryFacts(slot, f"synthetic:{first + slot - 1}", place=place, course=slot, **changes)
        for slot, place in enumerate(places, 1)
    ]


def season(days: int, seed: int, venues: int = 3, a_day: int = 12, slots: int = 6) -> list[EventFacts]:
    """Every event's final facts, in the order of their start."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=60)
    events = []
    for day in range(days):
        for number in range(a_day):
            for venue in range(venues):
                title = [f"cup {day // 4}", "spring", None][venue % 3]
                start = (FIRST_DAY + day) * DAY_US + 2 * HOUR_US + 40 * MINUTE_US * number + venue * MINUTE_US
                events.append(_event(rng, strength, start, venue, number, title, slots))
    return events


def _event(
    rng: np.random.Generator, strength: Any, start: float, venue: int, number: int, title: str | None, slots: int
) -> EventFacts:
    day = int(start // DAY_US)
    entities = rng.choice(len(strength), slots, replace=False)
    order = np.argsort(-(strength[entities] - 0.4 * np.arange(slots) + rng.gumbel(size=slots)))
    place = (np.argsort(order) + 1).tolist()
    kind = rng.random()
    entries = [_entry(rng, slot, int(each), strength[each], place[slot - 1]) for slot, each in enumerate(entities, 1)]
    if kind < 0.05:
        entries = entries[:-1]
    status = "void" if kind > 0.98 else "listed" if kind > 0.96 else "settled"
    if status != "settled":
        entries = [each._replace(place=None, code=None, course=None, timing_s=None) for each in entries]
    return EventFacts(
        event_key=f"synthetic:{day}:{venue:02}:{number:02}",
        session_key=f"synthetic:{day}:{venue:02}",
        day=day,
        venue=venue,
        number=number + 1,
        status=status,
        entries=entries,
        title=f"heat {number}",
        session_title=title,
        grade=float(rng.integers(1, 4)) if rng.random() < 0.9 else None,
        distance_m=float(rng.choice([1200, 1800])),
        scheduled_us=start,
        listed_us=start - (3 + venue) * HOUR_US,
        observed_us=None if rng.random() < 0.1 else start - 5 * MINUTE_US,
        settled_us=start + 15 * MINUTE_US + float(rng.integers(0, 3)) * HOUR_US if status == "settled" else None,
        technique=float(rng.integers(1, 7)) if rng.random() < 0.9 else None,
        conditions={"wind_m_s": float(rng.integers(0, 8)), "weather": float(rng.integers(1, 4))},
        amount=float(rng.integers(10, 9000)),
    )


def _entry(rng: np.random.Generator, slot: int, entity: int, strength: float, place: int) -> EntryFacts:
    code = float(rng.choice([14, 15, 16])) if rng.random() < 0.04 else None
    absent = code in {15, 16}
    return EntryFacts(
        slot=slot,
        entity=None if rng.random() < 0.01 else f"synthetic:{entity}",
        measures={
            "points": None if rng.random() < 0.1 else round(5 + strength + rng.normal() / 2, 2),
            "weight_kg": round(52 + rng.normal(), 1),
        },
        categories={
            "class": "AB"[int(strength > 0)],
            "motor_number": 5 * slot + int(rng.integers(5)),
            "hull_number": entity,
        },
        observed_course=None if rng.random() < 0.1 else slot,
        observed={"lap_s": round(6.8 + rng.normal() / 20, 2), "practice_timing_s": round(0.15 + rng.normal() / 20, 2)},
        place=None if code is not None or rng.random() < 0.03 else float(place),
        code=code,
        course=None if absent or rng.random() < 0.05 else float(slot),
        timing_s=None if absent else round(0.16 - strength / 50 + rng.normal() / 30, 2),
        win_amount=230.0 if place == 1 else None,
    )


def matches(count: int, slots: int, seed: int, profile: Profile = DUEL) -> tuple[list[EventFacts], Any]:
    """Events of a source without equipment, venues, lanes and observations, and the true strengths of its entities."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=20)
    events = []
    for number in range(count):
        entities = rng.choice(len(strength), slots, replace=False)
        place = np.argsort(np.argsort(-(2 * strength[entities] + rng.gumbel(size=slots)))) + 1.0
        entries = [
            EntryFacts(slot, f"{profile.name}:{each}", {"belt": float(each % 3)}, place=float(place[slot - 1]))
            for slot, each in enumerate(entities, 1)
        ]
        at_us = (FIRST_DAY + number / 20) * DAY_US
        events.append(event(f"{profile.name}:{number:05}", *entries, at_us=at_us, observed_us=None, session_title=None))
    return events, strength


def arrays(facts: Sequence[EventFacts], profile: Profile = SYNTHETIC) -> Events:
    return events_of(facts, profile.slots)
