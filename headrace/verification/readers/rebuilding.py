"""Computes return rates, profiles and entities again from the stored versions, and replaces the stored rows."""

from __future__ import annotations

from headrace.verification.readers.events import Totals, event_parts
from headrace.verification.readers.verify import VerificationProgress
from services.loader.entity_info import ANY_RECORD, fold_profiles
from services.loader.postgres_entities import lock_folds, profiles_by_entity, write_folds
from services.loader.postgres_merge import merge
from services.loader.returns import expand
from services.loader.rows import known_json
from services.loader.schema import PROFILES, RETURN_RATES
from shared.database.connection import DbConnection

SLOT = "rebuilt"
"""In facts.return_rates: loaders add to rows of their own slots."""


def rebuild(connection: DbConnection, progress: VerificationProgress) -> int:
    """One transaction. Loaders wait until it ends. Returns the number of events."""
    with connection.transaction():
        connection.execute("SET LOCAL timezone = 'UTC'")
        connection.execute("LOCK TABLE facts.versions IN SHARE MODE")
        count = int(str(connection.execute("SELECT count(*) FROM facts.events").fetchall()[0][0]))
        totals = Totals()
        for part in event_parts(connection, progress.begin("events", count)):
            for event in part.events:
                totals.add(event)
        _replace_rates(connection, totals)
        _replace_profiles(connection, totals)
    return count


def _replace_rates(connection: DbConnection, totals: Totals) -> None:
    connection.execute("DELETE FROM facts.return_rates")
    rows = [
        (SLOT, source, *cell, *sums) for source, cells in totals.rates.items() for cell, sums in expand(cells).items()
    ]
    merge(connection, {RETURN_RATES: rows}, {})


def _replace_profiles(connection: DbConnection, totals: Totals) -> None:
    """Profiles of units that are not committed yet stay: their loader folds them."""
    connection.execute("DELETE FROM facts.profiles WHERE record_id = %s", (ANY_RECORD,))
    rows = [
        (*key, name, *(known_json(each.items()) or "{}" for each in (categories, measures)))
        for key, (name, categories, measures) in totals.profiles.items()
    ]
    merge(connection, {PROFILES: rows}, {})
    lock_folds(connection)
    stored = connection.execute("SELECT entity_id, known_at, record_id, name, categories FROM facts.profiles")
    write_folds(connection, {entity_id: fold_profiles(each) for entity_id, each in profiles_by_entity(stored).items()})
