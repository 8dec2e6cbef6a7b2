"""Reads the stored facts and predictions of some days, for `headrace rules test`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.rows import tuple_row

from services.loader.fold import FactVersion, supersede
from services.loader.postgres_state import decode_body
from services.loader.rows import known_at_of
from services.notifier.findings.finding import EventDetails
from services.notifier.storage.postgres_facts import read_events
from shared.database.connection import DbConnection
from shared.events import Prediction, Withdrawal

EVENTS = """
SELECT e.event_key FROM facts.events e JOIN facts.sessions s ON s.id = e.session_id
WHERE s.date BETWEEN %s AND %s ORDER BY e.event_key"""
RESULTS = """
SELECT e.event_key, e.scheduled_at, v.revision, v.record_id, v.body
FROM facts.versions v JOIN facts.events e ON e.id = v.event_id
WHERE e.event_key = ANY(%s) AND v.kind = 'settled' ORDER BY e.event_key, v.version"""
PREDICTIONS = """
SELECT e.event_key, e.scheduled_at, so.name, p.as_of, p.state, p.model_version, p.feature_hash, p.shadow,
       p.probabilities
FROM facts.predictions p JOIN facts.events e ON e.id = p.event_id JOIN facts.sessions s ON s.id = e.session_id
JOIN facts.sources so ON so.id = s.source_id
WHERE e.event_key = ANY(%s) ORDER BY p.as_of, e.event_key, p.state, p.model_version, p.record_id"""


@dataclass(frozen=True)
class DayHistory:
    """The events of some days without payouts, the versions of their results, and their predictions by time."""

    events: Mapping[str, EventDetails]
    results: Mapping[str, Sequence[FactVersion]]
    predictions: Sequence[Prediction]


@contextmanager
def read_only_snapshot(connection: DbConnection) -> Iterator[None]:
    """A transaction whose queries see one state of the database. It cannot write. The connection is in autocommit."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def read_history(connection: DbConnection, first: date, last: date) -> DayHistory:
    """The history of the events from `first` to `last`."""
    keys = [row[0] for row in _rows(connection, EVENTS, first, last)]
    events = read_events(connection, keys, ())
    results: dict[str, list[FactVersion]] = defaultdict(list)
    for key, scheduled_at, revision, record_id, body in _rows(connection, RESULTS, keys):
        fact = decode_body(body)
        if isinstance(fact, Withdrawal):
            results[key] = [version for version in results[key] if version.record_id != record_id]
            continue
        version = FactVersion(known_at_of(fact, scheduled_at), revision, record_id, fact)
        results[key] = supersede(results[key], version)
    predictions = [_prediction(*row) for row in _rows(connection, PREDICTIONS, keys)]
    return DayHistory({key: events[key] for key in keys}, results, predictions)


def _prediction(
    key: str, scheduled_at: datetime | None, source: str, as_of: datetime, state: str, model_version: str,
    feature_hash: str, shadow: bool, probabilities: object,
) -> Prediction:  # fmt: skip
    values: dict[str, Any] = {
        "source": source, "event_key": key, "as_of": as_of, "scheduled_at": scheduled_at, "state": state,
        "model_version": model_version, "feature_hash": feature_hash, "inputs": (), "shadow": shadow,
        "probabilities": probabilities,
    }  # fmt: skip
    return Prediction.model_validate(values)


def _rows(connection: DbConnection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
