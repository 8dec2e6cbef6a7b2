"""Reads the data of findings from the `analytics` views, with one query per view for all keys of a batch.

The queries pass their keys as an array, not through a join: the views group and join internally, and PostgreSQL pushes
a constant condition into them, but not a join.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from typing import Any

from psycopg.rows import tuple_row

from services.notifier.findings.digest import DayRows
from services.notifier.findings.finding import EventDetails, Payout, SessionDetails, source_of_key
from shared.database.connection import DbConnection
from shared.events import HeadProbability, Prediction

EVENTS = "SELECT event_key, session_key, number, scheduled_at, status FROM analytics.events WHERE event_key = ANY(%s)"
SESSIONS = """
SELECT session_key, date, venue, venue_name, title, grade FROM analytics.sessions WHERE session_key = ANY(%s)"""
SESSION_EVENTS = """
SELECT session_key, count(*),
       coalesce(array_agg(number ORDER BY number) FILTER (WHERE status IN ('cancelled', 'postponed')), '{}')
FROM analytics.events WHERE session_key = ANY(%s) GROUP BY session_key"""
PLACES = """
SELECT event_key, place, slot FROM analytics.outcomes
WHERE event_key = ANY(%s) AND place IS NOT NULL ORDER BY event_key, place, slot"""
ENTITIES = "SELECT event_key, slot, entity_key FROM analytics.entries WHERE event_key = ANY(%s)"
NAMES = "SELECT entity_key, name FROM analytics.entities WHERE entity_key = ANY(%s) AND name IS NOT NULL"
PAYOUTS = """
SELECT event_key, selection, amount, market FROM analytics.transactions
WHERE event_key = ANY(%s) AND market = ANY(%s) ORDER BY event_key, ordinal, market"""
# Predictions made after the start are ignored.
WIN_PROBABILITIES = """
SELECT DISTINCT ON (p.event_key, p.slot) p.event_key, p.slot, p.probability
FROM analytics.predictions p JOIN analytics.events e ON e.event_key = p.event_key
WHERE p.event_key = ANY(%s) AND p.head = 'result' AND p.slot IS NOT NULL AND NOT p.shadow
  AND (e.scheduled_at IS NULL OR p.as_of <= e.scheduled_at)
ORDER BY p.event_key, p.slot, p.as_of DESC, p.state DESC, p.model_version DESC"""
STORED_PREDICTIONS = """
SELECT p.event_key, e.scheduled_at, p.as_of, p.state, p.model_version, p.slot, p.class, p.probability
FROM analytics.predictions p JOIN analytics.events e ON e.event_key = p.event_key
WHERE p.event_key = ANY(%s) AND p.head = 'result' AND p.slot IS NOT NULL AND NOT p.shadow
ORDER BY p.event_key, p.as_of, p.state, p.model_version, p.slot"""
SESSION_KEYS_OF_DAY = "SELECT session_key FROM analytics.sessions WHERE source = %s AND date = %s"
# A postponed event counts as cancelled: at the end of its day it is not known yet that the line-up will run later.
STATUSES = """
SELECT CASE status WHEN 'postponed' THEN 'cancelled' ELSE status END, count(*)
FROM analytics.events WHERE session_key = ANY(%s) GROUP BY 1"""
SETTLED_OF_DAY = "SELECT event_key FROM analytics.events WHERE session_key = ANY(%s) AND status = 'settled'"
SCORES = """
SELECT DISTINCT ON (s.event_key) s.event_key, s.log_loss
FROM analytics.prediction_scores s JOIN analytics.events e ON e.event_key = s.event_key
WHERE s.event_key = ANY(%s) AND NOT s.shadow AND (e.scheduled_at IS NULL OR s.as_of <= e.scheduled_at)
ORDER BY s.event_key, s.as_of DESC, s.state DESC, s.model_version DESC"""
SLOTS = "SELECT coalesce(max(slot), 0) FROM analytics.entries WHERE event_key = ANY(%s)"
# Reads the whole history of a source, so it is used only once a day. Event keys begin with source and date, so their
# byte order is the order of the days.
WINS_BEFORE = """
SELECT slot, count(*) FROM analytics.outcomes
WHERE place = 1 AND starts_with(event_key, %(source)s || ':')
  AND event_key COLLATE "C" < %(source)s || ':' || %(day)s
GROUP BY slot"""


def read_events(connection: DbConnection, keys: Sequence[str], markets: Sequence[str]) -> dict[str, EventDetails]:
    """The loaded events among `keys`, by key, with the payouts of these markets."""
    events = _rows(connection, EVENTS, list(keys)) if keys else []
    if not events:
        return {}
    sessions = read_sessions(connection, sorted({row[1] for row in events}))
    event_keys = [row[0] for row in events]
    placed: dict[str, list[tuple[int, int]]] = defaultdict(list)
    payouts: dict[str, list[Payout]] = defaultdict(list)
    predicted: dict[str, dict[int, float]] = defaultdict(dict)
    for key, place, slot in _rows(connection, PLACES, event_keys):
        placed[key].append((place, slot))
    for key, *payout in _rows(connection, PAYOUTS, event_keys, list(markets)):
        payouts[key].append(Payout(*payout))
    for key, slot, probability in _rows(connection, WIN_PROBABILITIES, event_keys):
        predicted[key][slot] = probability
    names, entities = _entries(connection, event_keys)
    return {
        key: EventDetails(
            key, sessions[session], number, scheduled_at, status,
            names[key], tuple(placed[key]), tuple(payouts[key]), predicted[key], frozenset(entities[key]),
        )
        for key, session, number, scheduled_at, status in events
    }  # fmt: skip


def read_sessions(connection: DbConnection, keys: Sequence[str]) -> dict[str, SessionDetails]:
    """The loaded sessions among `keys`, by key."""
    if not keys:
        return {}
    sessions = {row[0]: SessionDetails(*row) for row in _rows(connection, SESSIONS, list(keys))}
    for key, events, numbers in _rows(connection, SESSION_EVENTS, list(sessions)):
        sessions[key] = replace(sessions[key], events=events, called_off_numbers=tuple(numbers))
    return sessions


def stored_predictions(connection: DbConnection, keys: Sequence[str]) -> list[Prediction]:
    """The stored predictions of these events in the order of their times, with the probabilities of winning only."""
    rows = _rows(connection, STORED_PREDICTIONS, list(keys))
    return [
        Prediction(
            source=source_of_key(key), event_key=key, scheduled_at=scheduled_at, as_of=as_of, state=state,
            model_version=model_version, feature_hash="", inputs=(),
            probabilities=tuple(
                HeadProbability(head="result", slot=slot, label=label, probability=probability)
                for *_, slot, label, probability in group
            ),
        )
        for (key, scheduled_at, as_of, state, model_version), group in groupby(rows, key=lambda row: row[:5])
    ]  # fmt: skip


def day_statuses(connection: DbConnection, source: str, day: date) -> dict[str, int]:
    """The number of events of the source's day, by status."""
    return dict(_rows(connection, STATUSES, _sessions_of(connection, source, day)))


def day_rows(connection: DbConnection, source: str, day: date, markets: Sequence[str]) -> DayRows:
    """All data for the day's digest, with the payouts of these markets."""
    sessions = _sessions_of(connection, source, day)
    settled = [row[0] for row in _rows(connection, SETTLED_OF_DAY, sessions)]
    facts = read_events(connection, settled, markets)
    payouts = [
        (f"{event.session.venue_name or f'venue {event.session.venue}'} {event.number}", payout)
        for event in facts.values()
        for payout in event.payouts
    ]
    return DayRows(
        statuses=dict(_rows(connection, STATUSES, sessions)),
        payouts=payouts,
        log_losses=dict(_rows(connection, SCORES, settled)),
        winners={key: event.winner for key, event in facts.items() if event.winner is not None},
        wins=dict(_wins_before(connection, source, day)),
        slots=_rows(connection, SLOTS, settled)[0][0],
    )


def _sessions_of(connection: DbConnection, source: str, day: date) -> list[str]:
    return [row[0] for row in _rows(connection, SESSION_KEYS_OF_DAY, source, day)]


def _entries(connection: DbConnection, keys: list[str]) -> tuple[dict[str, dict[int, str]], dict[str, set[str]]]:
    """The names by slot, and the keys of the entities, both by event."""
    entries = [row for row in _rows(connection, ENTITIES, keys) if row[2] is not None]
    name_of = dict(_rows(connection, NAMES, sorted({entity for _, _, entity in entries})))
    names: dict[str, dict[int, str]] = defaultdict(dict)
    entities: dict[str, set[str]] = defaultdict(set)
    for key, slot, entity in entries:
        entities[key].add(entity)
        if entity in name_of:
            names[key][slot] = name_of[entity]
    return names, entities


def _wins_before(connection: DbConnection, source: str, day: date) -> list[tuple[Any, ...]]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(WINS_BEFORE, {"source": source, "day": day.isoformat()}).fetchall()


def _rows(connection: DbConnection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
