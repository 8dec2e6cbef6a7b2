"""Computes return rates, profiles, entities, titles of sessions and past facts again from the stored versions, and
replaces the stored rows. Rows are read and written in portions."""

from __future__ import annotations

from itertools import groupby, islice

from headrace.verification.expected_rows import profile_rows
from headrace.verification.readers.cursors import stream
from headrace.verification.readers.events import EventPart, event_parts
from headrace.verification.readers.verify import VerificationProgress
from headrace.verification.totals import RateTotals
from services.loader.entity_info import ANY_RECORD, fold_profiles
from services.loader.postgres_entities import lock_folds, profiles_by_entity, write_folds
from services.loader.postgres_merge import merge
from services.loader.postgres_past import replace_past
from services.loader.postgres_sessions import fold_all_sessions
from services.loader.rows import known_json
from services.loader.schema import PROFILES, RETURN_RATES
from shared.database.connection import DbConnection
from shared.events import Listed

SLOT = "rebuilt"
"""In facts.return_rates: loaders add to rows of their own slots."""
ENTITIES_AT_A_TIME = 50
_PROFILES = (
    "SELECT p.entity_id, p.known_at, p.record_id, p.name, p.categories FROM facts.profiles p ORDER BY p.entity_id"
)
_SET_SESSIONS = (
    "UPDATE facts.events e SET session_title = w.title, session_grade = w.grade"
    " FROM unnest(%s::text[], %s::text[], %s::integer[]) AS w(key, title, grade) WHERE e.event_key = w.key"
    " AND (e.session_title, e.session_grade) IS DISTINCT FROM (w.title, w.grade)"
)


def rebuild(connection: DbConnection, progress: VerificationProgress) -> int:
    """One transaction. Loaders wait until it ends. Returns the number of events."""
    with connection.transaction():
        connection.execute("SET LOCAL timezone = 'UTC'")
        connection.execute("LOCK TABLE facts.versions IN SHARE MODE")
        count = int(str(connection.execute("SELECT count(*) FROM facts.events").fetchall()[0][0]))
        rates = RateTotals()
        connection.execute("DELETE FROM facts.profiles WHERE record_id = %s", (ANY_RECORD,))
        for part in event_parts(connection, progress.begin("events", count)):
            for event in part.events:
                rates.add(event)
            _write_profiles(connection, part)
            _set_sessions(connection, part)
            replace_past(connection, {event.event_key: part.versions[event.event_key] for event in part.events}, {})
        _replace_rates(connection, rates)
        _fold_entities(connection)
        fold_all_sessions(connection)
    return count


def _replace_rates(connection: DbConnection, rates: RateTotals) -> None:
    connection.execute("DELETE FROM facts.return_rates")
    merge(connection, {RETURN_RATES: [(SLOT, *key, *sums) for key, sums in rates.rows().items()]}, {})


def _write_profiles(connection: DbConnection, part: EventPart) -> None:
    """Profiles of units that are not committed yet stay: their loader folds them."""
    rows = [
        (*key, name, *(known_json(each.items()) or "{}" for each in (categories, measures)))
        for event in part.events
        for key, (name, categories, measures) in profile_rows(event).items()
    ]
    merge(connection, {PROFILES: rows}, {})


def _set_sessions(connection: DbConnection, part: EventPart) -> None:
    cards = [(event.event_key, event.facts["listed"].fact) for event in part.events if "listed" in event.facts]
    sessions = [(key, fact.session) for key, fact in cards if isinstance(fact, Listed)]
    connection.execute(
        _SET_SESSIONS,
        (
            [key for key, _ in sessions],
            [session.title or None for _, session in sessions],
            [session.grade for _, session in sessions],
        ),
    )


def _fold_entities(connection: DbConnection) -> None:
    lock_folds(connection)
    groups = groupby(stream(connection, "profiles", _PROFILES), key=lambda row: row[0])
    folds = ((entity_id, fold_profiles(profiles_by_entity(rows)[entity_id])) for entity_id, rows in groups)
    while part := dict(islice(folds, ENTITIES_AT_A_TIME)):
        write_folds(connection, part)
