"""Compares the rows of events with their stored versions, some hundred events at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import zstandard
from pydantic import ValidationError

from headrace.verification import expected_rows
from headrace.verification.inconsistency import REBUILD, RELOAD, RESTORE, Inconsistency, Values, compare_rows, described
from services.loader.as_of import KnownEvent, StoredVersion, known_event
from services.loader.parking import FACT_KINDS
from services.loader.postgres_state import decode_body
from services.loader.schema import EVENTS, PAST_FACTS, Table
from shared.database.connection import DbConnection
from shared.events import Withdrawal

EVENTS_AT_A_TIME = 500
_RANGES = "SELECT min(id), count(*) FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / %s AS part FROM facts.events) e GROUP BY part ORDER BY 1"  # noqa: E501
_IDS = "SELECT id, event_key FROM facts.events WHERE id >= %s AND id < %s"
_EVENT_COLUMNS = ", ".join({"session_id": "s.session_key"}.get(name, f"e.{name}") for name in EVENTS.values)
_EVENTS = (
    f"SELECT e.id, e.event_key, {_EVENT_COLUMNS}"
    " FROM facts.events e LEFT JOIN facts.sessions s ON s.id = e.session_id WHERE e.id >= %s AND e.id < %s"
)
_VERSIONS = (
    "SELECT event_id, kind, version, known_at, revision, record_id, body FROM facts.versions"
    " WHERE event_id >= %s AND event_id < %s AND kind = ANY(%s) ORDER BY event_id, kind, version"
)
_SESSIONS = (
    "SELECT DISTINCT s.session_key, so.name, s.date, v.code::integer FROM facts.events e"
    " JOIN facts.sessions s ON s.id = e.session_id JOIN facts.sources so ON so.id = s.source_id"
    " JOIN facts.venues v ON v.id = s.venue_id WHERE e.id >= %s AND e.id < %s"
)
_KEYS = {"event_id": "e.event_key", "entity_id": "n.entity_key"}


class EventPart(NamedTuple):
    """Some events: what their rows lack, and what the checks of other tables need of them.

    `versions`: those of each event. `is_complete`: whether the versions of all events can be read.
    """

    inconsistencies: list[Inconsistency]
    events: list[KnownEvent]
    versions: dict[str, list[StoredVersion]]
    is_complete: bool


def event_parts(connection: DbConnection, advance: Callable[[int], object]) -> Iterator[EventPart]:
    """All events, in parts. `advance` is called with the number of events of each part."""
    for start, end, count in _ranges(connection):
        yield _part(connection, start, end)
        advance(count)


def events_of_cards(connection: DbConnection) -> Iterator[KnownEvent]:
    """All events whose cards can be read, with their cards only."""
    for start, end, _ in _ranges(connection):
        ids = dict(connection.execute(_IDS, (start, end)).fetchall())
        stored, _ = _stored_versions(connection, start, end, ids, ("listed",))
        for key, versions in stored.items():
            if (event := known_event(key, versions, None, unlisted=True)) is not None:
                yield event


def _ranges(connection: DbConnection) -> Iterator[tuple[int, int, int]]:
    """The first id of each part, that of the next part, and the number of events."""
    parts = connection.execute(_RANGES, (EVENTS_AT_A_TIME,)).fetchall()
    starts = [row[0] for row in parts] + [2**62]
    return ((start, end, count) for (start, count), end in zip(parts, starts[1:], strict=True))


def _part(connection: DbConnection, start: int, end: int) -> EventPart:
    rows = {row[1]: row for row in connection.execute(_EVENTS, (start, end))}
    ids = {row[0]: key for key, row in rows.items()}
    stored, inconsistencies = _stored_versions(connection, start, end, ids)
    unreadable = {each.key.split()[0] for each in inconsistencies}
    events: list[KnownEvent] = []
    for key in rows.keys() - unreadable:
        versions = stored.get(key, [])
        if (difference := _damage(key, versions)) is not None:
            inconsistencies.append(difference)
        elif (event := known_event(key, versions, None, unlisted=True)) is not None:
            events.append(event)
    actual = {event.event_key: rows[event.event_key][2:] for event in events}
    inconsistencies += _event_differences(events, actual)
    inconsistencies += _session_differences(connection, start, end, events)
    past = [(event.event_key, stored[event.event_key]) for event in events]
    for table, expected, remedy in (
        *((table, each, RELOAD) for table, each in expected_rows.rows_by_table(events).items()),
        (PAST_FACTS, expected_rows.past_rows(past), REBUILD),
    ):
        stored_rows = _actual(connection, table, start, end)
        known = {key: values for key, values in stored_rows.items() if key[0] in actual}
        inconsistencies += compare_rows(table.qualified, table.values, expected, known, remedy)
    return EventPart(inconsistencies, events, stored, is_complete=len(events) == len(rows))


def _damage(event_key: str, versions: list[StoredVersion]) -> Inconsistency | None:
    if not versions:
        return Inconsistency("facts.events", event_key, "one version or more", "no version", RESTORE)
    if gap := expected_rows.gap_in(versions):
        return Inconsistency("facts.versions", event_key, "versions numbered from 1 without a gap", gap, RESTORE)
    return None


def _event_differences(events: list[KnownEvent], actual: Mapping[str, Values]) -> Iterator[Inconsistency]:
    expected = {(event.event_key,): expected_rows.event_row(event, actual[event.event_key]) for event in events}
    for names, remedy in ((expected_rows.EVENT_COLUMNS, RELOAD), (expected_rows.SESSION_COLUMNS, REBUILD)):
        at = [expected_rows.ALL_EVENT_COLUMNS.index(name) for name in names]
        wanted = {key: tuple(values[index] for index in at) for key, values in expected.items()}
        stored = {(key,): tuple(values[index] for index in at) for key, values in actual.items()}
        yield from compare_rows("facts.events", names, wanted, stored, remedy)


def _session_differences(
    connection: DbConnection, start: int, end: int, events: list[KnownEvent]
) -> Iterator[Inconsistency]:
    expected = dict(expected_rows.session_values(event) for event in events if "listed" in event.facts)
    actual = {row[:1]: row[1:] for row in connection.execute(_SESSIONS, (start, end))}
    known = {key: values for key, values in actual.items() if key in expected}
    yield from compare_rows("facts.sessions", ("source", "date", "venue"), expected, known, RELOAD)


def _stored_versions(
    connection: DbConnection, start: int, end: int, keys: dict[int, str], kinds: Sequence[str] = FACT_KINDS
) -> tuple[dict[str, list[StoredVersion]], list[Inconsistency]]:
    stored: dict[str, list[StoredVersion]] = defaultdict(list)
    inconsistencies = []
    for event_id, kind, number, known_at, revision, record_id, body in connection.execute(
        _VERSIONS, (start, end, list(kinds))
    ):
        if event_id not in keys:
            continue  # a dangling reference, which another check reports
        key = f"{keys[event_id]} {kind} {number}"
        try:
            fact = decode_body(body)
        except (ValidationError, TypeError, zstandard.ZstdError) as error:
            text = str(error).splitlines()[0]
            inconsistencies.append(Inconsistency("facts.versions", key, "a body that can be read", text, RESTORE))
            continue
        stored[keys[event_id]].append(StoredVersion(kind, number, revision, UUID(str(record_id)), fact))
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
