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
_SOURCES = "SELECT name, id FROM facts.sources WHERE name = ANY(%b)"


def sources(connection: DbConnection, names: Iterable[str]) -> IdsByKey:
    wanted = set(names)
    ids = _read_ids(connection, _SOURCES, wanted)
    if missing := sorted(wanted - ids.keys()):
        connection.execute(
            "INSERT INTO facts.sources (name) SELECT unnest(%b::text[]) ON CONFLICT DO NOTHING", (missing,)
        )
        ids |= _read_ids(connection, _SOURCES, missing)
    return ids


def venues(
    connection: DbConnection, source_ids: Mapping[str, int], venue_codes: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """Ids by (source, venue code). A venue has no name until its reference data arrives."""
    wanted = {(source_ids[source], str(code)): (source, code) for source, code in venue_codes}
    ids = _read_venues(connection, wanted)
    if missing := sorted(wanted.keys() - ids.keys()):
        connection.execute(
            "INSERT INTO facts.venues (source_id, code) SELECT * FROM unnest(%b::int[], %b::text[])"
            " ON CONFLICT DO NOTHING",
            [list(column) for column in zip(*missing, strict=True)],
        )
        ids |= _read_venues(connection, missing)
    return {pair: ids[key] for key, pair in wanted.items()}


def sessions(connection: DbConnection, source_ids: Mapping[str, int], session_rows: Sequence[SessionRow]) -> IdsByKey:
    """Ids by session key. A new row has title and grade of the last given row that has them, until they are folded
    (services/loader/postgres_sessions.py)."""
    if not session_rows:
        return {}
    latest = latest_sessions(session_rows)
    ids = _read_sessions(connection, latest)
    new = [row for key, row in sorted(latest.items()) if key not in ids]
    if new:
        _insert_sessions(connection, source_ids, new)
        ids |= _read_sessions(connection, [row.session_key for row in new])
    return ids


def _read_sessions(connection: DbConnection, keys: Iterable[str]) -> IdsByKey:
    query = "SELECT session_key, id FROM facts.sessions WHERE session_key = ANY(%b)"
    return dict(connection.execute(query, (sorted(keys),)).fetchall())


def _insert_sessions(connection: DbConnection, source_ids: Mapping[str, int], new: Sequence[SessionRow]) -> None:
    """Skips rows that another loader has inserted meanwhile."""
    venue_ids = venues(connection, source_ids, {(row.source, row.venue) for row in new})
    rows = [
        (row.session_key, source_ids[row.source], venue_ids[row.source, row.venue], row.date, row.title, row.grade)
        for row in new
    ]
    connection.execute(
        "INSERT INTO facts.sessions (session_key, source_id, venue_id, date, title, grade) SELECT * FROM"
        " unnest(%b::text[], %b::int[], %b::int[], %b::date[], %b::text[], %b::int[]) ON CONFLICT DO NOTHING",
        [list(column) for column in zip(*rows, strict=True)],
    )


def _read_venues(connection: DbConnection, keys: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    ids, codes = zip(*sorted(keys), strict=True)
    rows = connection.execute(
        "SELECT source_id, code, id FROM facts.venues WHERE source_id = ANY(%b) AND code = ANY(%b)",
        (list(set(ids)), list(codes)),
    )
    return {(source_id, code): venue_id for source_id, code, venue_id in rows}


def entities(connection: DbConnection, keys: Iterable[str]) -> IdsByKey:
    return _read_ids(connection, "SELECT entity_key, id FROM facts.entities WHERE entity_key = ANY(%b)", keys)


def events(connection: DbConnection, keys: Iterable[str]) -> IdsByKey:
    """Ids of the events that are loaded; other keys are absent from the result."""
    return _read_ids(connection, "SELECT event_key, id FROM facts.events WHERE event_key = ANY(%b)", keys)


RESOLVERS: dict[str, Callable[[DbConnection, Iterable[str]], IdsByKey]] = {
    "sources": sources,
    "entities": entities,
    "events": events,
}
"""By the name of the table to which a foreign key refers (services/loader/schema.py)."""


def _read_ids(connection: DbConnection, query: str, keys: Iterable[str]) -> IdsByKey:
    wanted = sorted(set(keys))
    return dict(connection.execute(query, (wanted,)).fetchall()) if wanted else {}
