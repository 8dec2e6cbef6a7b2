"""Reads events for the bot's answers: one event with its predictions, coming events, a day's results.

Days and venues limit every query; keys are passed as arrays, as in postgres_facts.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.notifier.findings.finding import EventDetails
from services.notifier.storage.postgres_facts import read_events
from services.notifier.storage.search import pattern_of
from shared.database.connection import DbConnection

# The sessions of the days around a time: an event of a virtual clock's day, in any time zone.
COMING = """
SELECT e.event_key FROM analytics.events e JOIN analytics.sessions s ON s.session_key = e.session_key
WHERE e.scheduled_at > %(now)s AND e.scheduled_at < %(now)s + interval '2 days'
  AND e.status IN ('listed', 'observed') AND s.venue = coalesce(%(venue)s, s.venue)
ORDER BY e.scheduled_at, e.event_key LIMIT %(limit)s"""
SETTLED_OF_DAY = """
SELECT e.event_key FROM analytics.events e JOIN analytics.sessions s ON s.session_key = e.session_key
WHERE s.date = %s AND e.status = 'settled' ORDER BY e.scheduled_at, e.event_key"""
# For each event and state: the newest prediction of the live model.
NEWEST_PREDICTIONS = """
SELECT p.event_key, p.state, p.model_version, p.as_of, p.slot, p.probability
FROM analytics.predictions p JOIN (
    SELECT DISTINCT ON (event_key, state) event_key, state, model_version, as_of FROM analytics.predictions
    WHERE event_key = ANY(%(keys)s) AND NOT shadow ORDER BY event_key, state, as_of DESC, model_version DESC
) newest USING (event_key, state, model_version, as_of)
WHERE p.event_key = ANY(%(keys)s) AND p.head = 'result' AND p.slot IS NOT NULL AND NOT p.shadow
ORDER BY p.event_key, p.state, p.slot"""
MATCHING_KEYS = """
SELECT e.event_key, coalesce(s.venue_name, 'venue ' || s.venue) || ' ' || e.number, e.scheduled_at
FROM analytics.events e JOIN analytics.sessions s ON s.session_key = e.session_key
WHERE s.date BETWEEN %(day)s - 1 AND %(day)s + 1
  AND (e.event_key ILIKE %(pattern)s OR coalesce(s.venue_name, '') || ' ' || e.number ILIKE %(pattern)s)
ORDER BY abs(extract(epoch FROM e.scheduled_at - %(now)s)) NULLS LAST, e.event_key LIMIT 25"""
NEWEST_DAY = "SELECT max(date) FROM analytics.sessions WHERE status LIKE 'settled%%' AND date <= %s"


@dataclass(frozen=True)
class CardPrediction:
    """The newest prediction of one state of knowledge; `win` is the win probability by slot."""

    state: str
    model_version: str
    as_of: datetime
    win: Mapping[int, float]


@dataclass(frozen=True)
class Card:
    """An event, and its predictions: from the card first, then from the observation."""

    event: EventDetails
    predictions: tuple[CardPrediction, ...]

    @property
    def newest(self) -> CardPrediction | None:
        return self.predictions[-1] if self.predictions else None


def last_before_start(card: Card) -> CardPrediction | None:
    """The last prediction made before the event started."""
    start = card.event.scheduled_at
    before = [each for each in card.predictions if start is None or each.as_of <= start]
    return before[-1] if before else None


def read_cards(connection: DbConnection, keys: Sequence[str], market: str) -> list[Card]:
    """The loaded events among `keys`, in their order."""
    events = read_events(connection, keys, [market])
    predictions = _predictions_of(connection, list(events))
    return [Card(events[key], tuple(predictions.get(key, ()))) for key in keys if key in events]


def coming_events(connection: DbConnection, now: datetime, venue: int | None, limit: int) -> list[str]:
    """The keys of the next events, the soonest first."""
    rows = connection.execute(COMING, {"now": now, "venue": venue, "limit": limit}).fetchall()
    return [row[0] for row in rows]


def settled_events(connection: DbConnection, day: date) -> list[str]:
    """The keys of a day's settled events, by time."""
    return [row[0] for row in connection.execute(SETTLED_OF_DAY, (day,)).fetchall()]


def newest_settled_day(connection: DbConnection, now: datetime) -> date | None:
    """The newest day, up to now, with settled events."""
    row = connection.execute(NEWEST_DAY, (now.date(),)).fetchone()
    return None if row is None else row[0]


def matching_events(connection: DbConnection, now: datetime, typed: str) -> list[tuple[str, str, datetime | None]]:
    """(key, name, start) of events around now whose key or name contains what was typed, the closest in time first."""
    return connection.execute(MATCHING_KEYS, {"day": now.date(), "now": now, "pattern": pattern_of(typed)}).fetchall()


def _predictions_of(connection: DbConnection, keys: Sequence[str]) -> dict[str, list[CardPrediction]]:
    if not keys:
        return {}
    wins: dict[tuple[str, str, str, datetime], dict[int, float]] = defaultdict(dict)
    for key, state, version, as_of, slot, probability in connection.execute(
        NEWEST_PREDICTIONS, {"keys": list(keys)}
    ).fetchall():
        wins[key, state, version, as_of][slot] = probability
    predictions: dict[str, list[CardPrediction]] = defaultdict(list)
    # "card" sorts before "observation".
    for (key, state, version, as_of), win in sorted(wins.items()):
        predictions[key].append(CardPrediction(state, version, as_of, win))
    return predictions
