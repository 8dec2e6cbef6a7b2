"""Resolves natural keys to ids, for a whole batch at a time.

`sources`, `venues` and `sessions` insert the rows that are missing. `entities` and `events` only read; an event that is
not loaded has no id, and facts that refer to it are parked (services/loader/parking.py). Rows are inserted in key
order, so that concurrent loaders may wait for each other but cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from services.loader.rows import SessionRow, latest_sessions
from shared.database.connection import DbConnection

IdsByKey = dict[str, int]


def sources(connection: DbConnection, names: Iterable[str]) -> IdsByKey:
    wanted = sorted(set(names))
    connection.execute(
        "INSERT INTO facts.sources (name) SELECT n FROM unnest(%s::text[]) n"
        " WHERE NOT EXISTS (SELECT FROM facts.sources s WHERE s.name = n) ON CONFLICT DO NOTHING",
        (wanted,),
    )
    return dict(connection.execute("SELECT name, id FROM facts.sources WHERE name = ANY(%s)", (wanted,)).fetchall())


def venues(
    connection: DbConnection, source_ids: Mapping[str, int], venue_codes: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """Ids by (source, venue code). A venue has no name until its reference data arrives."""
    pairs = sorted({(source_ids[source], str(code), source, code) for source, code in venue_codes})
    ids, codes = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    connection.execute(
        "INSERT INTO facts.venues (source_id, code) SELECT w.s, w.c FROM unnest(%s::int[], %s::text[]) AS w(s, c)"
        " WHERE NOT EXISTS (SELECT FROM facts.venues v WHERE v.source_id = w.s AND v.code = w.c)"
        " ON CONFLICT DO NOTHING",
        (ids, codes),
    )
    venue_ids = {
        (source_id, code): venue_id
        for source_id, code, venue_id in connection.execute(
            "SELECT source_id, code, id FROM facts.venues WHERE source_id = ANY(%s) AND code = ANY(%s)", (ids, codes)
        )
    }
    return {(source, code): venue_ids[source_id, text] for source_id, text, source, code in pairs}


def sessions(connection: DbConnection, source_ids: Mapping[str, int], session_rows: Sequence[SessionRow]) -> IdsByKey:
    """Ids by session key. A new row has title and grade of the last given row that has them, until they are folded
    (services/loader/postgres_sessions.py)."""
    if not session_rows:
        return {}
    venue_ids = venues(connection, source_ids, {(row.source, row.venue) for row in session_rows})
    latest = latest_sessions(session_rows)
    rows = [
        (row.session_key, source_ids[row.source], venue_ids[row.source, row.venue], row.date, row.title, row.grade)
        for _, row in sorted(latest.items())
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    connection.execute(
        "INSERT INTO facts.sessions (session_key, source_id, venue_id, date, title, grade) SELECT w.* FROM"
        " unnest(%s::text[], %s::int[], %s::int[], %s::date[], %s::text[], %s::int[]) AS w(k, s, v, d, t, g)"
        " WHERE NOT EXISTS (SELECT FROM facts.sessions x WHERE x.session_key = w.k) ON CONFLICT DO NOTHING",
        columns,
    )
    return _read_ids(connection, "SELECT session_key, id FROM facts.sessions WHERE session_key = ANY(%s)", latest)


def entities(connection: DbConnection, keys: Iterable[str]) -> IdsByKey:
    return _read_ids(connection, "SELECT entity_key, id FROM facts.entities WHERE entity_key = ANY(%s)", keys)


def events(connection: DbConnection, keys: Iterable[str]) -> IdsByKey:
    """Ids of the events that are loaded; other keys are absent from the result."""
    return _read_ids(connection, "SELECT event_key, id FROM facts.events WHERE event_key = ANY(%s)", keys)


RESOLVERS: dict[str, Callable[[DbConnection, Iterable[str]], IdsByKey]] = {
    "sources": sources,
    "entities": entities,
    "events": events,
}
"""By the name of the table to which a foreign key refers (services/loader/schema.py)."""


def _read_ids(connection: DbConnection, query: str, keys: Iterable[str]) -> IdsByKey:
    wanted = sorted(set(keys))
    return dict(connection.execute(query, (wanted,)).fetchall()) if wanted else {}
