"""Compares the rows of events with their stored versions, some hundred events at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import zstandard
from pydantic import ValidationError

from headrace.verification import expected_rows
from headrace.verification.inconsistency import RELOAD, RESTORE, Inconsistency, Values, compare_rows, described
from services.loader import returns
from services.loader.as_of import KnownEvent, StoredVersion, known_event
from services.loader.postgres_state import decode_body
from services.loader.schema import Table
from shared.database.connection import DbConnection
from shared.events import Listed, Withdrawal, day_of

EVENTS_AT_A_TIME = 500
_RANGES = "SELECT min(id), count(*) FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / %s AS part FROM facts.events) e GROUP BY part ORDER BY 1"  # noqa: E501
_EVENTS = """
SELECT e.id, e.event_key, s.session_key, e.number, e.scheduled_at, e.title, e.distance_m, e.card_key, e.status,
       e.technique, e.conditions, e.observed_conditions, e.missing_markets, e.version, e.listed_at, e.observed_at,
       e.settled_at
FROM facts.events e LEFT JOIN facts.sessions s ON s.id = e.session_id WHERE e.id >= %s AND e.id < %s
"""
_VERSIONS = (
    "SELECT event_id, kind, version, known_at, revision, record_id, body FROM facts.versions"
    " WHERE event_id >= %s AND event_id < %s ORDER BY event_id, kind, version"
)
_KEYS = {"event_id": "e.event_key", "entity_id": "n.entity_key"}


class EventPart(NamedTuple):
    """Some events: what their rows lack, and what the checks of other tables need of them."""

    inconsistencies: list[Inconsistency]
    events: list[KnownEvent]
    is_complete: bool
    """Whether the versions of all events can be read."""


def event_parts(connection: DbConnection, advance: Callable[[int], object]) -> Iterator[EventPart]:
    """All events, in parts. `advance` is called with the number of events of each part."""
    parts = connection.execute(_RANGES, (EVENTS_AT_A_TIME,)).fetchall()
    starts = [row[0] for row in parts] + [2**62]
    for (start, count), end in zip(parts, starts[1:], strict=True):
        yield _part(connection, start, end)
        advance(count)


def _part(connection: DbConnection, start: int, end: int) -> EventPart:
    rows = {row[0]: row for row in connection.execute(_EVENTS, (start, end))}
    stored, inconsistencies = _stored_versions(connection, start, end, {key: row[1] for key, row in rows.items()})
    events: list[KnownEvent] = []
    unreadable: set[str] = {each.key.split()[0] for each in inconsistencies}
    for event_id, row in rows.items():
        versions, key = stored.get(event_id, []), row[1]
        if key in unreadable:
            continue
        if not versions:
            inconsistencies.append(Inconsistency("facts.events", key, "one version or more", "no version", RESTORE))
            continue
        if gap := expected_rows.gap_in(versions):
            inconsistencies.append(
                Inconsistency("facts.versions", key, "versions numbered from 1 without a gap", gap, RESTORE)
            )
            unreadable.add(key)
            continue
        if (event := known_event(key, versions, None, unlisted=True)) is not None:
            events.append(event)
    checked = {event.event_key for event in events}
    actual = {(row[1],): row[2:] for row in rows.values() if row[1] in checked}
    expected = {(event.event_key,): expected_rows.event_row(event, actual[event.event_key,]) for event in events}
    inconsistencies += compare_rows("facts.events", expected_rows.EVENT_COLUMNS, expected, actual, RELOAD)
    for table, table_rows in expected_rows.rows_by_table(events).items():
        stored_rows = {
            key: values for key, values in _actual(connection, table, start, end).items() if key[0] in checked
        }
        inconsistencies += compare_rows(table.qualified, table.values, table_rows, stored_rows, RELOAD)
    return EventPart(inconsistencies, events, is_complete=len(events) == len(rows))


def _stored_versions(
    connection: DbConnection, start: int, end: int, keys: dict[int, str]
) -> tuple[dict[int, list[StoredVersion]], list[Inconsistency]]:
    stored: dict[int, list[StoredVersion]] = defaultdict(list)
    inconsistencies = []
    for event_id, kind, number, known_at, revision, record_id, body in connection.execute(_VERSIONS, (start, end)):
        if event_id not in keys:
            continue  # a dangling reference, which another check reports
        key = f"{keys[event_id]} {kind} {number}"
        try:
            fact = decode_body(body)
        except (ValidationError, TypeError, zstandard.ZstdError) as error:
            text = str(error).splitlines()[0]
            inconsistencies.append(Inconsistency("facts.versions", key, "a body that can be read", text, RESTORE))
            continue
        stored[event_id].append(StoredVersion(kind, number, revision, UUID(str(record_id)), fact))
        if (difference := _version_difference(fact, keys[event_id], kind, known_at)) is not None:
            inconsistencies.append(Inconsistency("facts.versions", key, *difference, RESTORE))
    return stored, inconsistencies


def _version_difference(fact: Any, event_key: str, kind: str, known_at: datetime) -> tuple[str, str] | None:
    """What the body says and the row does not. A fact without `known_at` is dated by a schedule that may have moved."""
    names = ("event_key", "kind", "known_at")
    own_kind = fact.fact if isinstance(fact, Withdrawal) else fact.kind
    own_known_at = None if isinstance(fact, Withdrawal) else fact.known_at
    body = (fact.event_key, own_kind, own_known_at or known_at)
    row = (event_key, kind, known_at)
    return None if body == row else (described(names, body), described(names, row))


def _actual(connection: DbConnection, table: Table, start: int, end: int) -> expected_rows.Rows:
    columns = ", ".join(_KEYS.get(name, f"t.{name}") for name in table.columns)
    entity = " LEFT JOIN facts.entities n ON n.id = t.entity_id" if "entity_id" in table.columns else ""
    query = (
        f"SELECT {columns} FROM {table.qualified} t JOIN facts.events e ON e.id = t.event_id{entity}"
        " WHERE t.event_id >= %s AND t.event_id < %s"
    )
    return {row[: len(table.key)]: row[len(table.key) :] for row in connection.execute(query, (start, end))}


class Totals:
    """What all events together make of other tables: return rates, profiles and sessions."""

    def __init__(self) -> None:
        self.rates: dict[str, dict[returns.Cell, list[Any]]] = defaultdict(dict)
        self.profiles: expected_rows.Rows = {}
        self.sessions: dict[str, Values] = {}
        self.titles: dict[str, set[str | None]] = defaultdict(set)

    def add(self, event: KnownEvent) -> None:
        fact = expected_rows.settled_of(event)
        if fact is not None:
            as_of = returns.rates_as_of(day_of(event.event_key))
            returns.add(self.rates[fact.source], returns.contributions(fact), as_of)
        self.profiles |= expected_rows.profile_rows(event)
        if "listed" not in event.facts:
            return
        key, values = expected_rows.session_values(event)
        self.sessions[key] = values
        for version in event.versions["listed"]:
            if isinstance(version.fact, Listed):
                self.titles[key].add(version.fact.session.title)
