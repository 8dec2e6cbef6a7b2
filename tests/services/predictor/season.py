"""A synthetic season with known probabilities, written directly into the facts tables.

Twelve entrants of known strength per venue's day; the order of each event is drawn by Plackett-Luce from slot,
strength and, in part, the form of the day, which only the observation shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg

SOURCE = "made-up"
SLOT = np.array([1.6, 0.4, 0.2, 0.0, -0.4, -0.9])
FIRST = date(2030, 3, 1)
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Event:
    """One event with all of its facts. `order`: slots, first to last; empty for an upcoming event."""

    key: str
    scheduled_at: datetime
    listed_at: datetime
    entities: tuple[str, ...]
    rating: tuple[float, ...]
    lap_s: tuple[float, ...]
    truth: tuple[float, ...] = ()
    order: tuple[int, ...] = ()
    timing_s: tuple[float, ...] = ()
    observed: bool = True
    amount: int = 1000

    @property
    def settled_at(self) -> datetime:
        return self.scheduled_at + timedelta(minutes=15)


def season(days: int, events_a_day: int, seed: int, entities: int = 120) -> list[Event]:
    """`rating` is the strength with an error that stays; `lap_s` is the day's form with noise."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=entities)
    rating = strength + rng.normal(0.0, 0.7, entities)
    events = []
    for day in range(days):
        for number in range(events_a_day):
            entrants = rng.choice(entities, 6, replace=False)
            form = rng.normal(size=6)
            utility = SLOT + 0.9 * strength[entrants] + 0.5 * form
            order = np.argsort(-(utility + rng.gumbel(size=6))) + 1
            truth = np.exp(utility) / np.exp(utility).sum()
            events.append(
                Event(
                    key=key_of(FIRST + timedelta(days=day), 1 + number // 12, 1 + number % 12),
                    scheduled_at=_start(day) + timedelta(minutes=30 * (number % 12)),
                    listed_at=_start(day) - timedelta(hours=3),
                    entities=tuple(f"{SOURCE}:{1000 + index}" for index in entrants),
                    rating=tuple(rating[entrants].round(2).tolist()),
                    lap_s=tuple((6.8 - 0.05 * form + rng.normal(0.0, 0.02, 6)).round(2).tolist()),
                    truth=tuple(truth.tolist()),
                    order=tuple(order.tolist()),
                    timing_s=tuple((0.16 - 0.02 * strength[entrants] + rng.normal(0.0, 0.04, 6)).round(2).tolist()),
                    amount=int(100 / truth[order[:3] - 1].prod() ** 0.9),
                )
            )
    return events


def key_of(day: date, venue: int, number: int) -> str:
    return f"{SOURCE}:{day.isoformat()}:{venue:02d}:{number:02d}"


def _start(day: int) -> datetime:
    return datetime(FIRST.year, FIRST.month, FIRST.day, 1, tzinfo=UTC) + timedelta(days=day)


def store(connection: Connection, events: Sequence[Event]) -> None:
    """Inserts the events with all of their facts. May be called again, with new events."""
    with connection.transaction():
        source = connection.execute(
            "INSERT INTO facts.sources (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET name = excluded.name"
            " RETURNING id",
            (SOURCE,),
        ).fetchone()[0]  # type: ignore[index]
        ids = _events(connection, source, events)
        entities = _entities(connection, source, events)
        _copy(
            connection,
            "entries (event_id, slot, entity_id, measures, categories)",
            [
                (
                    ids[event.key],
                    slot,
                    entities[entity_key],
                    json.dumps({"rating": rating, "weight_kg": 52.0}),
                    json.dumps({"motor_number": 10 * slot, "class": 1 + int(rating > 0)}),
                )
                for event in events
                for slot, (entity_key, rating) in enumerate(zip(event.entities, event.rating, strict=True), 1)
            ],
        )
        _copy(
            connection,
            "observations (event_id, slot, course, measures)",
            [
                (ids[event.key], slot, slot, json.dumps({"lap_s": lap}))
                for event in events
                if event.observed
                for slot, lap in enumerate(event.lap_s, 1)
            ],
        )
        _copy(
            connection,
            "outcomes (event_id, slot, place, course, start_timing_s)",
            [
                (ids[event.key], slot, place, slot, event.timing_s[slot - 1])
                for event in events
                for place, slot in enumerate(event.order, 1)
            ],
        )
        _copy(
            connection,
            "transactions (event_id, market, selection, amount, ordinal)",
            [
                (ids[event.key], "trifecta", "-".join(map(str, event.order[:3])), event.amount, 1)
                for event in events
                if event.order
            ],
        )


def _events(connection: Connection, source: int, events: Sequence[Event]) -> dict[str, int]:
    for venue in {event.key.split(":")[2] for event in events}:
        connection.execute(
            "INSERT INTO facts.venues (source_id, code) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (source, str(int(venue))),
        )
    for session in {event.key.rsplit(":", 1)[0] for event in events}:
        _, day, venue = session.split(":")
        connection.execute(
            "INSERT INTO facts.sessions (session_key, source_id, venue_id, date, grade)"
            " SELECT %s, %s, id, %s, 5 FROM facts.venues WHERE code = %s ON CONFLICT DO NOTHING",
            (session, source, day, str(int(venue))),
        )
    connection.execute(
        "CREATE TEMP TABLE new_events (key text, session text, number int, scheduled timestamptz, status text,"
        " listed timestamptz, observed timestamptz, settled timestamptz) ON COMMIT DROP"
    )
    with connection.cursor().copy("COPY new_events FROM STDIN") as copy:
        for event in events:
            status = "settled" if event.order else "observed" if event.observed else "listed"
            observed_at = event.scheduled_at - timedelta(minutes=5) if event.observed else None
            settled_at = event.settled_at if event.order else None
            number, session = int(event.key[-2:]), event.key.rsplit(":", 1)[0]
            times = (event.listed_at, observed_at, settled_at)
            copy.write_row((event.key, session, number, event.scheduled_at, status, *times))
    rows = connection.execute(
        "INSERT INTO facts.events (event_key, session_id, number, scheduled_at, status, listed_at, observed_at,"
        " settled_at, observed_conditions, conditions) SELECT n.key, s.id, n.number, n.scheduled, n.status, n.listed,"
        ' n.observed, n.settled, CASE WHEN n.observed IS NOT NULL THEN \'{"wind_m_s": 3, "weather": 1}\'::jsonb END,'
        ' CASE WHEN n.settled IS NOT NULL THEN \'{"wind_m_s": 9, "weather": 2}\'::jsonb END'
        " FROM new_events n JOIN facts.sessions s ON s.session_key = n.session RETURNING event_key, id"
    ).fetchall()
    return dict(rows)


def _entities(connection: Connection, source: int, events: Sequence[Event]) -> dict[str, int]:
    keys = sorted({key for event in events for key in event.entities})
    connection.execute(
        "INSERT INTO facts.entities (entity_key, source_id, known_at) SELECT k, %s, now() FROM unnest(%s::text[]) k"
        " ON CONFLICT DO NOTHING",
        (source, keys),
    )
    rows = connection.execute(
        "SELECT entity_key, id FROM facts.entities WHERE entity_key = ANY(%s)", (keys,)
    ).fetchall()
    return dict(rows)


def _copy(connection: Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    with connection.cursor().copy(f"COPY facts.{table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
