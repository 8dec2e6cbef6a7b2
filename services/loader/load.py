"""Loads facts, predictions and dead letters into tables and appends a loaded event for each fact that changed a row.

Rows, positions and loaded events become visible together, in the unit's transaction. Rows that many events share
(sources, venues, sessions, entities) are written earlier, in a separate transaction: inside the unit they would block
every other loader that needs the same entity until the whole batch is done. If the unit fails, these rows stay. They
are correct all the same, because the repeated unit derives the same rows from the same facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import NamedTuple

import orjson
from psycopg.errors import (
    CardinalityViolation,
    CheckViolation,
    DataError,
    ForeignKeyViolation,
    NotNullViolation,
    ProgramLimitExceeded,
)

from services.loader import postgres_base, postgres_events, resolve
from services.loader.apply import FactApplier
from services.loader.effects import LoadedFact
from services.loader.fact_age import live_age_s
from services.loader.parking import FACT_KINDS, PREDICTION, kind_of, park, release
from services.loader.postgres_effects import write_rows, write_shared
from services.loader.postgres_export_orders import mark_days_changed
from services.loader.postgres_merge import merge
from services.loader.postgres_refusal import refusal_of
from services.loader.postgres_state import read_states
from services.loader.record_rows import dead_letter_row, prediction_row
from services.loader.schema import DEAD_LETTERS, PREDICTIONS
from services.loader.state import EventState
from shared.broker.contract import NewRecord
from shared.clock import Clock
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import InvalidEvent
from shared.events import SCHEMA_VERSION, Listed, LoadedEvent, Prediction, Reference, Withdrawal, day_of
from shared.records import DecodedRecord, encode, headers_of, revision_of
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, LOADED, partition_of

HOP = "loader"

# Errors caused by the record, not by the database: numbers and texts that do not fit a column, keys too long for an
# index, the same key twice in one fact, values that a constraint refuses. UniqueViolation is not one of them: two
# loaders may cause it.
_INVALID_VALUE_ERRORS = (
    DataError, CardinalityViolation, ProgramLimitExceeded, CheckViolation, ForeignKeyViolation, NotNullViolation,
)  # fmt: skip


Day = tuple[str, date]
"""A source and one of its days."""


class _LoadedFacts(NamedTuple):
    """The records of loaded-events, the ids of the events that the facts list for the first time, and the days of all
    events that they change."""

    records: list[NewRecord]
    new_event_ids: resolve.IdsByKey
    changed_days: set[Day]


class Loader:
    """Handles the batches of the loader, the only service that writes facts."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        slot: str = "0",
        shared_link: ReconnectingConnection | None = None,
        stripes: int = 6,
        as_of_limit: datetime | None = None,
    ) -> None:
        """`shared_link`: a second connection, for rows that events share; None writes them in the unit's transaction.
        `stripes`: number of advisory locks; equal to the number of partitions, so that live loaders never share one.
        `as_of_limit`: facts that became known later are not loaded."""
        self._clock = clock
        self._shared_link = shared_link
        self._slot = slot
        self._metrics = metrics
        self._stripes = stripes
        self._as_of_limit = as_of_limit

    def handle(self, batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        try:
            return self._handle(batch, connection)
        except _INVALID_VALUE_ERRORS as error:
            raise InvalidEvent(f"PostgreSQL rejects a value of the record: {refusal_of(error)}") from error

    def _handle(self, batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        lock_event_stripes(connection, batch, self._stripes)
        merge(connection, {DEAD_LETTERS: [dead_letter_row(item.record) for item in batch if item.message is None]}, {})
        outputs = self._update_reference_data(
            [item for item in batch if isinstance(item.message, Reference)], connection
        )
        facts = [item for item in batch if not isinstance(item.message, Reference | Prediction | None)]
        loaded = self._load_facts(facts, connection)
        predictions = [item for item in batch if isinstance(item.message, Prediction)]
        predicted_days = self._store_predictions(predictions, loaded.new_event_ids, connection)
        mark_days_changed(connection, loaded.changed_days | predicted_days)
        return outputs + loaded.records

    def _update_reference_data(self, references: list[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        if references:
            with self._shared_transaction(connection) as shared_connection:
                for item in references:
                    postgres_base.insert_codes(shared_connection, item.message)
        return [
            _reference_loaded_event(item) for item in references if postgres_base.update_codes(connection, item.message)
        ]

    def _load_facts(self, facts: list[DecodedRecord], connection: DbConnection) -> _LoadedFacts:
        if not facts:
            return _LoadedFacts([], {}, set())
        # In a replay, loaded events carry the replay's revision. The facts keep the revision of their record, so that a
        # version cleaned later than the record is not replaced.
        revisions = {item.event_id: item.revision for item in facts}
        ages_s = {item.event_id: age_s for item in facts if (age_s := live_age_s(item, self._clock)) is not None}
        states, facts = self._with_parked_facts([with_own_revision(item) for item in facts], connection)
        listed = {item.message.event_key for item in facts if isinstance(item.message, Listed)}
        ready = [item for item in facts if item.message.event_key in states or item.message.event_key in listed]
        orphans = [
            item for item in facts if item.message.event_key not in states and item.message.event_key not in listed
        ]
        if orphans:
            park(connection, orphans, self._clock.now())
        known_ids = {key: state.id for key, state in states.items() if state.id is not None}
        # Listed facts first: other facts of the batch may refer to the events that they list.
        application = FactApplier(states, self._as_of_limit)
        for item in sorted(ready, key=lambda item: not isinstance(item.message, Listed)):
            application.apply(item)
        effects = application.finish()
        if effects.withheld_count:
            self._metrics.records_total.labels(HOP, CLEAN, "filtered: known later").inc(effects.withheld_count)
        if not effects.events:
            return _LoadedFacts([], {}, set())
        if effects.sessions or effects.profiles or effects.removed_profiles:
            with self._shared_transaction(connection) as shared_connection:
                shared_ids = write_shared(shared_connection, effects)
        else:  # nothing is written: all of it is there
            shared_ids = write_shared(connection, effects)
        new_ids = postgres_events.write_events(connection, effects.events, shared_ids["sessions"], known_ids.keys())
        ids = known_ids | new_ids
        write_rows(connection, effects, shared_ids | {"events": ids}, self._slot)
        for item in ready:
            if item.event_id in ages_s:
                self._metrics.live_fact_age_seconds.observe(ages_s[item.event_id])
        for kind, count in effects.regression_counts.items():
            self._metrics.regressions_total.labels(feed=kind).inc(count)
        records = [
            _loaded_event(item, ids, revisions.get(item.received.event_id, item.received.revision))
            for item in effects.loaded_facts
        ]
        return _LoadedFacts(records, new_ids, effects.changed_days)

    @contextmanager
    def _shared_transaction(self, connection: DbConnection) -> Iterator[DbConnection]:
        if self._shared_link is None:
            yield connection
            return
        with self._shared_link.use() as shared_connection, shared_connection.transaction():
            yield shared_connection

    def _with_parked_facts(
        self, facts: list[DecodedRecord], connection: DbConnection
    ) -> tuple[dict[str, EventState], list[DecodedRecord]]:
        """The events' states, and the batch preceded by the parked facts of events that it lists for the first time."""
        states = read_states(
            connection,
            # A card may change the schedule, and with it the `known_at` of the event's other facts. A withdrawal
            # changes the status, which depends on all kinds.
            (
                (item.message.event_key, kind)
                for item in facts
                for kind in (FACT_KINDS if isinstance(item.message, Listed | Withdrawal) else (item.message.kind,))
            ),
        )
        newly_listed = {item.message.event_key for item in facts if isinstance(item.message, Listed)} - states.keys()
        parked_facts = release(connection, newly_listed, FACT_KINDS) if newly_listed else []
        # In order of arrival: the parked facts came first, and the batch may hold one of them again.
        return states, parked_facts + facts

    def _store_predictions(
        self, predictions: list[DecodedRecord], new_event_ids: resolve.IdsByKey, connection: DbConnection
    ) -> set[Day]:
        """Store the predictions of loaded events, also parked ones of the events that the batch lists for the first
        time, and park the others: predictions are in another topic and may arrive before their events. Returns the days
        of those that are stored, if one of them is new."""
        if not predictions and not new_event_ids:
            return set()
        if new_event_ids:
            predictions = release(connection, new_event_ids, [PREDICTION]) + predictions
        unknown = {item.message.event_key for item in predictions} - new_event_ids.keys()
        event_ids = new_event_ids | resolve.events(connection, unknown)
        if orphans := [item for item in predictions if item.message.event_key not in event_ids]:
            park(connection, orphans, self._clock.now())
        stored = {item.event_id: item.message for item in predictions if item.message.event_key in event_ids}
        rows = [prediction_row(event_id, message) for event_id, message in stored.items()]
        if not merge(connection, {PREDICTIONS: rows}, {"events": event_ids}):
            return set()
        return {(each.source, day) for each in stored.values() if (day := day_of(each.event_key)) is not None}


def lock_event_stripes(connection: DbConnection, batch: Sequence[DecodedRecord], stripes: int) -> None:
    """Lock the batch's events against other writers until the transaction ends. Blocks while another writer has them.

    A partition has one owner, but a replay may write the same events at the same time; each would fold versions
    without those that the other has not committed yet. Locks are always taken in ascending order, so writers cannot
    deadlock.
    """
    wanted = sorted({partition_of(item.record.key, stripes) for item in batch if item.message is not None})
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtext('headrace loader'), stripe) FROM unnest(%s::int[]) AS stripe", (wanted,)
    )


def with_own_revision(item: DecodedRecord) -> DecodedRecord:
    """The item with the revision in its record's headers instead of the replay's."""
    own_revision = revision_of(item.record.headers)
    return item if own_revision == item.revision else item._replace(revision=own_revision)


def _loaded_event(item: LoadedFact, ids: resolve.IdsByKey, revision: str) -> NewRecord:
    """The same bytes as `encode(LoadedEvent(...))` gives, in a third of the time: one is made for almost every fact."""
    fact = item.received.message
    fields = {
        "schema_version": SCHEMA_VERSION, "source": fact.source, "event_key": fact.event_key, "kind": kind_of(fact),
        "version": item.version, "known_at": item.known_at, "scheduled_at": item.scheduled_at, "status": item.status,
        "row_id": ids[fact.event_key], "changed": item.changed,
    }  # fmt: skip
    if item.scheduled_at is None:
        del fields["scheduled_at"]
    return NewRecord(
        LOADED,
        fact.event_key.encode(),
        orjson.dumps(fields, option=orjson.OPT_UTC_Z),
        headers_of(item.received.event_id, "loaded-event/1", fact.source, HOP, revision),
    )


def _reference_loaded_event(item: DecodedRecord) -> NewRecord:
    base: Reference = item.message
    message = LoadedEvent(
        source=base.source, event_key=base.event_key, kind="reference", version=1, known_at=base.known_at
    )
    return encode(message, LOADED, "loaded-event/1", item.event_id, HOP, item.revision)
