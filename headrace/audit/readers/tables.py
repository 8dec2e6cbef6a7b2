"""Reads from the tables which event_ids they hold, in the audit's own snapshot of the database."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import psycopg

from headrace.audit.accounting import DeadLetterEvidence
from headrace.audit.window import AuditWindow
from services.loader.fact_tree import FactEvent
from services.loader.rows import known_at_of
from services.loader.schema import REFERENCE_TABLES
from shared.events import Listed, Reference
from shared.records import LIVE

AuditConnection = psycopg.Connection[Any]
RowState = Literal["loaded", "superseded"]
_VERSIONS_IN_WINDOW = (
    "FROM facts.versions v JOIN facts.events e ON e.id = v.event_id JOIN facts.sessions s ON s.id = e.session_id"
    " WHERE coalesce(s.date >= %s, true) AND coalesce(s.date <= %s, true)"
)


class PublishedVersion(NamedTuple):
    """A version of a fact that must have been published to loaded-events."""

    event_id: str
    key: str
    revision: str


class ReferenceValue(NamedTuple):
    """The meaning of a code, and when it became known."""

    name: str | None
    attributes: Any
    known_at: datetime | None


@dataclass
class TableContents:
    """The contents of the tables by event_id, of the events in the window. `published`: live versions that were
    published downstream."""

    rows: dict[str, RowState] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    duplicates: dict[tuple[str, str], int] = field(default_factory=dict)
    published: list[PublishedVersion] = field(default_factory=list)
    settled: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # ids of versions, by event key
    parked: dict[str, str] = field(default_factory=dict)
    parked_predictions: set[str] = field(default_factory=set)
    predictions: dict[str, str] = field(default_factory=dict)
    dead_letters: dict[str, list[DeadLetterEvidence]] = field(default_factory=lambda: defaultdict(list))
    dead_letter_places: set[str] = field(default_factory=set)  # places of dead letters that have a row
    reference: dict[str, dict[tuple[str, str], ReferenceValue]] = field(default_factory=dict)
    as_of_limit: datetime | None = None
    scheduled: dict[str, datetime | None] = field(default_factory=dict)  # of every event, if there is a horizon

    def is_after_as_of(self, fact: FactEvent) -> bool:
        """Whether a database loaded as of a time omits the fact, because it or its event became known later."""
        if self.as_of_limit is None:
            return False
        listed_for = fact.scheduled_at if isinstance(fact, Listed) else self.scheduled.get(fact.event_key)
        unlisted = not isinstance(fact, Listed) and fact.event_key not in self.scheduled
        return unlisted or known_at_of(fact, listed_for) > self.as_of_limit

    def reference_state(self, fact: Reference) -> RowState | None:
        """Whether the rows of reference data hold these values, or values known later; None if they differ."""
        stored = self.reference.get(fact.table, {})
        pairs = [(row, stored.get((fact.source, row.code))) for row in fact.rows]
        for row, current in pairs:
            if current is None or current.known_at is None or current.known_at < fact.known_at:
                return None
            if current.known_at == fact.known_at and (current.name, current.attributes) != (row.name, row.attributes):
                return None
        return "loaded" if any(now and now.known_at == fact.known_at for _, now in pairs) else "superseded"


@contextmanager
def snapshot(connection: AuditConnection) -> Iterator[None]:
    """Everything read within the block is of the same moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def read_tables(connection: AuditConnection, window: AuditWindow) -> TableContents:
    """Read all tables in one snapshot."""
    with snapshot(connection):
        return _read_all(connection, window)


def _read_all(connection: AuditConnection, window: AuditWindow) -> TableContents:
    tables = TableContents()
    _read_versions(connection, window, tables)
    for event_id, key, kind in connection.execute("SELECT record_id::text, parent_key, kind FROM facts.parked"):
        if kind == "prediction":
            tables.parked_predictions.add(event_id)
        elif window.has_key(key):
            tables.parked[event_id] = key
    tables.predictions = dict(
        connection.execute(
            "SELECT p.record_id::text, e.event_key FROM facts.predictions p JOIN facts.events e ON e.id = p.event_id"
            " JOIN facts.sessions s ON s.id = e.session_id"
            " WHERE coalesce(s.date >= %s, true) AND coalesce(s.date <= %s, true)",
            (window.first, window.last),
        ).fetchall()
    )
    for service, event_id, topic, p, off, error, message in connection.execute(
        "SELECT service, record_id::text, topic, p, off, error, message FROM facts.dead_letters ORDER BY failed_at"
    ):
        place = f"{topic}/{p}/{off}"
        tables.dead_letters[event_id].append(DeadLetterEvidence(service, place, f"{error}: {message}"))
        tables.dead_letter_places.add(place)
    tables.reference = {table: _reference_values(connection, table) for table in REFERENCE_TABLES}
    if (row := connection.execute("SELECT as_of FROM facts.horizon").fetchone()) is not None:
        tables.as_of_limit = row[0]
        tables.scheduled = dict(connection.execute("SELECT event_key, scheduled_at FROM facts.events").fetchall())
    return tables


def _read_versions(connection: AuditConnection, window: AuditWindow, tables: TableContents) -> None:
    """The version that became known last is current; it supersedes the earlier ones."""
    current_fact, newest, revisions = ("", ""), "", set[tuple[str, str]]()
    with connection.cursor() as cursor:
        versions = cursor.stream(
            f"SELECT v.record_id::text, e.event_key, v.kind, v.revision, v.told {_VERSIONS_IN_WINDOW}"
            ' ORDER BY v.event_id, v.kind, v.known_at, v.revision COLLATE "C", v.version',
            (window.first, window.last),
        )
        for record_id, event_key, kind, revision, is_published in versions:
            event_id, key = sys.intern(record_id), sys.intern(event_key)
            if (key, kind) != current_fact:
                current_fact, newest, revisions = (key, kind), event_id, set()
            tables.rows[newest], tables.rows[event_id] = "superseded", "loaded"
            newest = event_id
            tables.keys[event_id] = key
            if (event_id, revision) in revisions:
                tables.duplicates[event_id, revision] = tables.duplicates.get((event_id, revision), 1) + 1
            revisions.add((event_id, revision))
            if kind == "settled":
                tables.settled[key].append(event_id)
            if is_published and revision == LIVE:
                tables.published.append(PublishedVersion(event_id, key, LIVE))


def _reference_values(connection: AuditConnection, table: str) -> dict[tuple[str, str], ReferenceValue]:
    return {
        (source, code): ReferenceValue(*row)
        for source, code, *row in connection.execute(
            f"SELECT s.name, t.code, t.name, t.attributes, t.known_at FROM facts.{table} t"
            " JOIN facts.sources s ON s.id = t.source_id"
        )
    }
