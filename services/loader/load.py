"""Loads facts, predictions and dead letters into tables and appends a loaded event for each fact that changed a row.

Rows, positions and loaded events become visible together, in the unit's transaction. Rows that many events share
(sources, venues, sessions, entities) are written earlier, in a separate transaction: inside the unit they would block
every other loader that needs the same entity until the whole batch is done. If the unit fails, these rows stay. They
are correct all the same, because the repeated unit derives the same rows from the same facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

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
from services.loader.apply import Effects, FactApplier, LoadedFact, changed_cards, entity_rows, profile_rows, rate_rows
from services.loader.fact_age import live_age_s
from services.loader.parking import FACT_KINDS, PREDICTION, kind_of, park, release
from services.loader.postgres_entities import fold_entities
from services.loader.postgres_merge import delete, insert, merge, prepare_staging
from services.loader.postgres_past import write_past
from services.loader.postgres_refusal import refusal_of
from services.loader.postgres_sessions import fold_sessions
from services.loader.postgres_state import read_states
from services.loader.rows import Row, json_text
from services.loader.schema import DEAD_LETTERS, ENTITIES, PREDICTIONS, PROFILES, RETURN_RATES
from services.loader.state import EventState
from shared.broker.contract import NewRecord, Record
from shared.clock import Clock
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import InvalidEvent
from shared.events import SCHEMA_VERSION, Listed, LoadedEvent, Prediction, Reference, Withdrawal
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

T = TypeVar("T")


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
        prepare_staging(connection)
        postgres_events.prepare_staging(connection)
        merge(connection, {DEAD_LETTERS: [dead_letter_row(item.record) for item in batch if item.message is None]}, {})
        outputs = self._update_reference_data(
            [item for item in batch if isinstance(item.message, Reference)], connection
        )
        facts = [item for item in batch if not isinstance(item.message, Reference | Prediction | None)]
        outputs += self._load_facts(facts, connection)
        predictions = [item for item in batch if isinstance(item.message, Prediction)]
        self._store_predictions(
            predictions, {item.message.event_key for item in facts if isinstance(item.message, Listed)}, connection
        )
        return outputs

    def _update_reference_data(self, references: list[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        if references:
            with self._shared_transaction(connection) as shared_connection:
                for item in references:
                    postgres_base.insert_codes(shared_connection, item.message)
        return [
            _reference_loaded_event(item) for item in references if postgres_base.update_codes(connection, item.message)
        ]

    def _load_facts(self, facts: list[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        if not facts:
            return []
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
        # Listed facts first: other facts of the batch may refer to the events that they list.
        application = FactApplier(states, self._as_of_limit)
        for item in sorted(ready, key=lambda item: not isinstance(item.message, Listed)):
            application.apply(item)
        effects = application.finish()
        if effects.withheld_count:
            self._metrics.records_total.labels(HOP, CLEAN, "filtered: known later").inc(effects.withheld_count)
        if not effects.events:
            return []
        with self._shared_transaction(connection) as shared_connection:
            shared_ids = write_shared(shared_connection, effects)
        with self._shared_transaction(connection) as shared_connection:  # once the profiles are committed
            fold_shared(shared_connection, effects)
        ids = write_rows(connection, effects, shared_ids, self._slot)
        for item in ready:
            if item.event_id in ages_s:
                self._metrics.live_fact_age_seconds.observe(ages_s[item.event_id])
        for kind, count in effects.regression_counts.items():
            self._metrics.regressions_total.labels(feed=kind).inc(count)
        return [
            _loaded_event(item, ids, revisions.get(item.received.event_id, item.received.revision))
            for item in effects.loaded_facts
        ]

    @contextmanager
    def _shared_transaction(self, connection: DbConnection) -> Iterator[DbConnection]:
        if self._shared_link is None:
            yield connection
            return
        with self._shared_link.use() as shared_connection, shared_connection.transaction():
            prepare_staging(shared_connection)
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
        self, predictions: list[DecodedRecord], listed_keys: Set[str], connection: DbConnection
    ) -> None:
        """Store the predictions of loaded events, also parked ones of the events that the batch lists, and park the
        others: predictions are in another topic and may arrive before their events."""
        if not predictions and not listed_keys:
            return
        event_ids = resolve.events(connection, listed_keys | {item.message.event_key for item in predictions})
        if listed_keys:
            predictions = release(connection, listed_keys & event_ids.keys(), [PREDICTION]) + predictions
        if orphans := [item for item in predictions if item.message.event_key not in event_ids]:
            park(connection, orphans, self._clock.now())
        rows = {
            item.event_id: _prediction_row(item.event_id, item.message)
            for item in predictions
            if item.message.event_key in event_ids
        }
        merge(connection, {PREDICTIONS: list(rows.values())}, {"events": event_ids})


def write_shared(connection: DbConnection, effects: Effects) -> dict[str, resolve.IdsByKey]:
    """Write the rows that the batch's events share; returns the ids of sources and sessions."""
    source_ids = resolve.sources(
        connection, {row.source for row in effects.sessions} | {source for source, _ in effects.changed_days}
    )
    sessions = resolve.sessions(connection, source_ids, effects.sessions)
    merge(connection, {ENTITIES: entity_rows(effects)}, {"sources": source_ids})
    _delete_profiles(connection, effects)
    merge(connection, {PROFILES: profile_rows(effects)}, {})
    return {"sources": source_ids, "sessions": sessions}


def _delete_profiles(connection: DbConnection, effects: Effects) -> None:
    """An entity has no row if its only card is withdrawn in the batch that lists it."""
    entity_ids = resolve.entities(connection, {key for key, _, _ in effects.removed_profiles})
    if keys := sorted(key for key in effects.removed_profiles if key[0] in entity_ids):
        delete(connection, PROFILES, keys, {"entities": entity_ids})


def fold_shared(connection: DbConnection, effects: Effects) -> None:
    """Bring the rows of the batch's entities up to date with their profiles."""
    if effects.profiles or effects.removed_profiles:
        stated = [profile.stated for profile in effects.profiles.values()]
        fold_entities(connection, stated, {key for key, _, _ in effects.removed_profiles})


def write_rows(
    connection: DbConnection, effects: Effects, shared: Mapping[str, resolve.IdsByKey], slot: str
) -> resolve.IdsByKey:
    """Write all other rows of the batch; returns the ids of its events."""
    postgres_events.write_events(connection, effects.events, shared["sessions"])
    postgres_events.clear_columns(connection, effects.cleared_kinds)
    # Every row belongs to an event of the batch, whose columns are set.
    resolved_ids = {"sources": shared["sources"], "events": resolve.events(connection, effects.events)}
    insert(connection, effects.new_rows, resolved_ids)
    for table, gone in effects.removed_rows.items():
        delete(connection, table, gone, resolved_ids)
    merge(connection, effects.rows | {RETURN_RATES: rate_rows(effects, slot)}, resolved_ids)
    write_past(connection, effects.revised, resolved_ids)
    _mark_days_changed(connection, effects, shared["sources"])
    fold_sessions(connection, changed_cards(effects))
    return resolved_ids["events"]


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


def dead_letter_row(record: Record) -> Row:
    """A record of a dead-letter topic as a row of facts.dead_letters.

    Must not raise for any content: the record would become a dead letter itself, come back here and fail again, without
    end.
    """
    text = {name: _printable(value) for name, value in record.headers.items()}
    return (
        record.topic.removesuffix(".dlq"),
        record.topic,
        record.partition,
        record.offset,
        _parse_or(UUID, text.get("event_id"), UUID(int=0)),
        _printable(record.key),
        text.get("dlq.exception-class", "unknown"),
        text.get("dlq.exception-message", ""),
        _parse_or(_bounded_int, text.get("dlq.attempts"), 1),
        _parse_or(datetime.fromisoformat, text.get("dlq.first-failed-at"), _appended_at(record)),
    )


def _appended_at(record: Record) -> datetime:
    return datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)


def _printable(value: bytes) -> str:
    return value.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _bounded_int(text: str) -> int:
    return min(int(text), 2**31 - 1)


def _parse_or(parse: Callable[[str], T], text: str | None, default: T) -> T:
    try:
        return default if text is None else parse(text)
    except ValueError:
        return default


def _mark_days_changed(connection: DbConnection, effects: Effects, source_ids: resolve.IdsByKey) -> None:
    """Mark the CSV files of the days as outdated. Called last, because concurrent loaders lock the same rows here."""
    days = sorted((source_ids[source], day) for source, day in effects.changed_days)
    connection.execute(
        "INSERT INTO facts.export_days (source_id, date) SELECT * FROM unnest(%s::int[], %s::date[])"
        " ON CONFLICT (source_id, date) DO UPDATE SET touched = export_days.touched + 1",
        ([source_id for source_id, _ in days], [day for _, day in days]),
    )


def _prediction_row(event_id: UUID, prediction: Prediction) -> Row:
    probabilities: list[dict[str, Any]] = [item.model_dump() for item in prediction.probabilities]
    decision = json_text(prediction.decision.model_dump()) if prediction.decision else None
    return (
        event_id, prediction.event_key, prediction.state, prediction.model_version, prediction.as_of,
        prediction.shadow, prediction.feature_hash, json_text(probabilities), decision,
    )  # fmt: skip


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
