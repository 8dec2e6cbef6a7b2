"""Reads facts from PostgreSQL: all settled events for training and the history cache, a few events for serving.

The role needs SELECT on `analytics` and on a few columns of `facts` (shared/grants/migrations). Each read sees one
snapshot.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import orjson
import psycopg
from psycopg.types.json import set_json_loads

from services.predictor.data.events import EntryFacts, EventFacts
from services.predictor.data.profile import BOATRACE, Profile
from services.predictor.storage import queries
from services.predictor.storage.interface import (
    Changes,
    EventChange,
    Position,
    StoredDecision,
    StoredPrediction,
    gc_disabled,
)
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError
from shared.events import Decision

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]
T = TypeVar("T")

# Rows that are in memory twice, as rows and as records; a whole archive has 236,160 entries.
CHUNK = 10_000


class PostgresFacts:
    """Facts for serving, over a connection of its own. Use from one thread only."""

    def __init__(self, link: ReconnectingConnection, first_read_s: float | None = None) -> None:
        """`first_read_s`: the limit of each statement that reads all settled events; None: that of the connection."""
        self._link = link
        self._first_read_s = first_read_s

    def settled(self) -> list[EventFacts]:
        return self._read(read_settled, self._first_read_s)

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]:
        return self._read(lambda connection: read_events(connection, event_keys))

    def changes(self, after: Position | None) -> Changes:
        return self._read(lambda connection: read_changes(connection, after))

    def decisions(self, session_keys: Sequence[str]) -> list[StoredDecision]:
        return self._read(lambda connection: read_decisions(connection, session_keys))

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        parameters = {"ids": list(predictions)}
        rows = self._read(lambda connection: connection.execute(queries.PREDICTIONS_LOADED, parameters).fetchall())
        return frozenset(row[0] for row in rows)

    def close(self) -> None:
        self._link.drop()

    def _read(self, read: Callable[[DbConnection], T], answer_s: float | None = None) -> T:
        try:
            with self._link.use(answer_s) as connection:
                return read(connection)
        except TransientError as error:
            raise TransientError(f"cannot read facts: {error}") from error


def read_settled(connection: Connection, until: date | None = None, *, profile: Profile = BOATRACE) -> list[EventFacts]:
    """Every settled event up to and including the day `until`, ordered by start, then by key."""
    parameters = {"until": until, **_market_parameters(profile)}
    with gc_disabled(), _snapshot(connection):
        sessions = {row[0]: row for row in _stream_rows(connection, queries.SESSIONS, parameters)}
        events = [row for row in _stream_rows(connection, queries.EVENTS_SETTLED, parameters) if row[1] in sessions]
        paid = _payouts(_stream_rows(connection, queries.AMOUNTS_SETTLED, parameters), profile)
        entries = _entries(
            _stream_rows(connection, queries.ENTRIES_SETTLED, parameters), {row[0] for row in events}, paid
        )
        return _join(events, sessions, entries, paid)


def read_events(connection: Connection, event_keys: Sequence[str], profile: Profile = BOATRACE) -> list[EventFacts]:
    """The listed ones of these events, in any status, each once, ordered by start. Runs four queries for any number of
    events."""
    parameters = {"keys": list(event_keys), **_market_parameters(profile)}
    with _snapshot(connection):
        events = _fetch_rows(connection, queries.EVENTS_OF, parameters)
        rows = _fetch_rows(connection, queries.SESSIONS_OF, {"sessions": list({row[1] for row in events})})
        paid = _payouts(_fetch_rows(connection, queries.AMOUNTS_OF, parameters), profile)
        entries = _entries(_fetch_rows(connection, queries.ENTRIES_OF, parameters), {row[0] for row in events}, paid)
        return _join(events, {row[0]: row for row in rows}, entries, paid)


def read_changes(connection: Connection, after: Position | None) -> Changes:
    """Events with a result that were stored or changed since `after`. None: no events, only the current position.

    First read a position, then the settled events, then repeatedly the changes since the last position.

    No change is missed: what a transaction stores of an event carries the number of the transaction
    (facts.versions.written_by). All transactions below the oldest running one of a snapshot have ended and are visible
    in it. A change that a read does not see therefore has that number or a higher one, however late it commits and in
    whatever order. The next read begins at that number. Changes that it sees again are dropped by their version, which
    every change of an event raises in the same transaction.

    A changed title or grade of a session is not a change of its events: read all settled events again to get it.
    """
    if after is None:
        (oldest,) = connection.execute(queries.POSITION).fetchall()[0]
        return Changes((), Position(oldest))
    rows = connection.execute(queries.CHANGES, {"after": after.oldest}).fetchall()
    changes = frozenset(
        EventChange(key, version, status, float(at)) for _, key, version, status, at in rows if key is not None
    )
    return Changes(tuple(sorted(changes - after.seen_changes)), Position(rows[0][0], changes))


def read_decisions(connection: Connection, session_keys: Sequence[str]) -> list[StoredDecision]:
    """The newest live prediction with a decision of each event of these sessions, made before the event's start."""
    rows = connection.execute(queries.DECISIONS, {"sessions": list(session_keys)}).fetchall()
    return [
        StoredDecision(key, session_key, state, version, float(as_of_us), Decision.model_validate(decision))
        for key, session_key, state, version, as_of_us, decision in rows
    ]


def read_predictions(connection: Connection) -> list[StoredPrediction]:
    """The newest live prediction of each settled event and state, made before the event's start, and the winner."""
    rows = connection.execute(queries.SETTLED_PREDICTIONS).fetchall()
    return [
        StoredPrediction(key, state, {row[2]: row[3] for row in group}, group[0][4], group[0][5], float(group[0][6]))
        for (key, state), group in (
            (ids, list(rows_of_group)) for ids, rows_of_group in groupby(rows, lambda row: row[:2])
        )
    ]


class _Payouts(NamedTuple):
    """Payouts by event key: of the trend market, and of each slot in the win market."""

    main: dict[str, float]
    slots: dict[str, dict[str, float]]


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """A transaction that sees one state of the tables, so that a concurrent correction cannot mix two versions."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _stream_rows(connection: Connection, query: str, parameters: Mapping[str, Any]) -> Iterator[Row]:
    """Streams rows in chunks, for results too large to be held twice."""
    with connection.cursor("rows", binary=True) as cursor:
        set_json_loads(orjson.loads, cursor)
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


def _fetch_rows(connection: Connection, query: str, parameters: Mapping[str, Any]) -> list[Row]:
    with connection.cursor(binary=True) as cursor:
        set_json_loads(orjson.loads, cursor)
        return cursor.execute(query, parameters).fetchall()


def _market_parameters(profile: Profile) -> dict[str, str]:
    return {"win": profile.win_market, "trend": profile.trend_market}


def _payouts(rows: Iterable[Row], profile: Profile) -> _Payouts:
    payouts = _Payouts({}, defaultdict(dict))
    for key, market, selection, amount, ordinal in rows:
        if market == profile.win_market:
            payouts.slots[key][selection] = amount
        if market == profile.trend_market and ordinal == 1:
            payouts.main[key] = amount
    return payouts


def _entries(rows: Iterable[Row], wanted: Container[str], paid: _Payouts) -> dict[str, list[EntryFacts]]:
    """Entries by event key, ordered by slot."""
    by_event: dict[str, list[EntryFacts]] = defaultdict(list)
    for (
        key,
        slot,
        entity,
        measures,
        categories,
        observed_course,
        observed,
        place,
        code,
        course,
        timing_s,
        refunded,
    ) in rows:
        if key in wanted:
            win_amount = paid.slots[key].get(str(slot))
            by_event[key].append(
                EntryFacts(
                    slot,
                    entity,
                    measures,
                    categories,
                    observed_course,
                    observed or {},
                    place,
                    code,
                    course,
                    timing_s,
                    refunded,
                    win_amount,
                )
            )
    for entries in by_event.values():
        entries.sort(key=lambda entry: entry.slot)
    return by_event


def _join(
    events: Iterable[Row], sessions: Mapping[str, Row], entries: Mapping[str, list[EntryFacts]], paid: _Payouts
) -> list[EventFacts]:
    facts = []
    for key, session_key, number, status, title, distance_m, technique, conditions, *instants in events:
        _, day, venue, grade, session_title = sessions[session_key]
        identity = (key, session_key, day, venue, number, status, tuple(entries.get(key, ())), title, grade, distance_m)
        us = (None if instant is None else float(instant) for instant in instants)
        remaining = (technique, conditions or {}, paid.main.get(key), session_title)
        facts.append(EventFacts._make((*identity, *us, *remaining)))
    return sorted(facts, key=lambda event: (event.scheduled_us or math.inf, event.event_key))
