"""Loads facts, predictions and dead letters into tables and appends a loaded event for each fact that changed a row.

Rows, positions and loaded events become visible together, in the unit's transaction. Rows that many events share
(sources, venues, sessions, entities) are written earlier, in a separate transaction: inside the unit they would block
every other loader that needs the same entity until the whole batch is done. If the unit fails, these rows stay. They
are correct all the same, because the repeated unit derives the same rows from the same facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg.errors import CardinalityViolation, DataError, ProgramLimitExceeded

from services.loader import postgres_base, postgres_events, resolve
from services.loader.apply import Application, Effects, Told, entity_rows, rate_rows
from services.loader.parking import park, release
from services.loader.postgres_merge import delete, merge, prepare
from services.loader.postgres_state import read_states
from services.loader.rows import Row, json_text
from services.loader.schema import DEAD_LETTERS, ENTITIES, PREDICTIONS, RETURN_RATES
from services.loader.state import EventState
from shared.broker.contract import NewRecord, Record
from shared.clock import Clock
from shared.database.connection import DbConnection, Link, first_line
from shared.errors import InvalidEvent
from shared.events import Listed, LoadedEvent, Prediction, Reference
from shared.records import Received, encode, revision_of
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, LOADED, partition_of

HOP = "loader"
KINDS = ("listed", "observed", "settled")

# Errors caused by the record, not by the database: numbers and texts that do not fit a column, keys too long for an
# index, the same key twice in one fact.
_REFUSED = (DataError, CardinalityViolation, ProgramLimitExceeded)

T = TypeVar("T")


class Loader:
    """Handles the batches of the loader, the only service that writes facts."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        slot: str = "0",
        shared: Link | None = None,
        stripes: int = 6,
        horizon: datetime | None = None,
    ) -> None:
        """`shared_link`: a second connection, for rows that events share; None writes them in the unit's transaction.
        `stripes`: number of advisory locks; equal to the number of partitions, so that live loaders never share one.
        `as_of_limit`: facts that became known later are not loaded."""
        self._clock = clock
        self._shared = shared
        self._slot = slot
        self._metrics = metrics
        self._stripes = stripes
        self._horizon = horizon

    def handle(self, batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
        try:
            return self._handle(batch, connection)
        except _REFUSED as error:
            raise InvalidEvent(f"PostgreSQL rejects a value of the record: {first_line(error)}") from error

    def _handle(self, batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
        keep_others_out(connection, batch, self._stripes)
        prepare(connection)
        postgres_events.prepare(connection)
        merge(connection, {DEAD_LETTERS: [dead_letter_row(item.record) for item in batch if item.message is None]}, {})
        told = self._name([item for item in batch if isinstance(item.message, Reference)], connection)
        facts = [item for item in batch if not isinstance(item.message, Reference | Prediction | None)]
        told += self._load(facts, connection)
        _store_predictions(connection, [item for item in batch if isinstance(item.message, Prediction)])
        return told

    def _name(self, references: list[Received], connection: DbConnection) -> list[NewRecord]:
        if references:
            with self._sharing(connection) as sharing:
                for item in references:
                    postgres_base.meet(sharing, item.message)
        return [_told_reference(item) for item in references if postgres_base.write(connection, item.message)]

    def _load(self, facts: list[Received], connection: DbConnection) -> list[NewRecord]:
        if not facts:
            return []
        # In a replay, loaded events carry the replay's revision. The facts keep the revision of their record, so that a
        # version cleaned later than the record is not replaced.
        revisions = {item.event_id: item.revision for item in facts}
        states, facts = self._with_released([as_written(item) for item in facts], connection)
        listed = {item.message.event_key for item in facts if isinstance(item.message, Listed)}
        ready = [item for item in facts if item.message.event_key in states or item.message.event_key in listed]
        orphans = [
            item for item in facts if item.message.event_key not in states and item.message.event_key not in listed
        ]
        if orphans:
            park(connection, orphans, self._clock.now())
        # Listed facts first: other facts of the batch may refer to the events that they list.
        application = Application(states, self._horizon)
        for item in sorted(ready, key=lambda item: not isinstance(item.message, Listed)):
            application.apply(item)
        effects = application.finish()
        if effects.withheld:
            self._metrics.records_total.labels(HOP, CLEAN, "filtered: known later").inc(effects.withheld)
        if not effects.events:
            return []
        with self._sharing(connection) as sharing:
            known = write_shared(sharing, effects)
        ids = write(connection, effects, known, self._slot)
        for kind, count in effects.regressed.items():
            self._metrics.regressions_total.labels(feed=kind).inc(count)
        return [
            _told(item, ids, revisions.get(item.received.event_id, item.received.revision)) for item in effects.told
        ]

    @contextmanager
    def _sharing(self, connection: DbConnection) -> Iterator[DbConnection]:
        if self._shared is None:
            yield connection
            return
        with self._shared.use() as apart, apart.transaction():
            prepare(apart)
            yield apart

    def _with_released(
        self, facts: list[Received], connection: DbConnection
    ) -> tuple[dict[str, EventState], list[Received]]:
        """The events' states, and the batch preceded by the parked facts of events that it lists for the first time."""
        states = read_states(
            connection,
            # A card may change the schedule, and with it the `known_at` of the event's other facts.
            (
                (item.message.event_key, kind)
                for item in facts
                for kind in (KINDS if isinstance(item.message, Listed) else (item.message.kind,))
            ),
        )
        fresh = {item.message.event_key for item in facts if isinstance(item.message, Listed)} - states.keys()
        children = release(connection, fresh) if fresh else []
        # In order of arrival: the parked facts came first, and the batch may hold one of them again.
        return states, children + facts


def write_shared(connection: DbConnection, effects: Effects) -> dict[str, resolve.Ids]:
    """Write the rows that the batch's events share; returns the ids of sources and sessions."""
    source_ids = resolve.sources(
        connection, {row.source for row in effects.sessions} | {source for source, _ in effects.days}
    )
    sessions = resolve.sessions(connection, source_ids, effects.sessions)
    merge(connection, {ENTITIES: entity_rows(effects)}, {"sources": source_ids})
    return {"sources": source_ids, "sessions": sessions}


def write(connection: DbConnection, effects: Effects, shared: Mapping[str, resolve.Ids], slot: str) -> resolve.Ids:
    """Write all other rows of the batch; returns the ids of its events."""
    postgres_events.write(connection, effects.events, shared["sessions"])
    keys = {row[0] for rows in effects.rows.values() for row in rows} | effects.events.keys()
    known = {"sources": shared["sources"], "events": resolve.events(connection, keys)}
    for table, gone in effects.removed.items():
        delete(connection, table, gone, known)
    merge(connection, effects.rows | {RETURN_RATES: rate_rows(effects, slot)}, known)
    _touch_days(connection, effects, shared["sources"])
    return known["events"]


def keep_others_out(connection: DbConnection, batch: Sequence[Received], stripes: int) -> None:
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
        _read(UUID, text.get("event_id"), UUID(int=0)),
        _printable(record.key),
        text.get("dlq.exception-class", "unknown"),
        text.get("dlq.exception-message", ""),
        _read(_small, text.get("dlq.attempts"), 1),
        _read(datetime.fromisoformat, text.get("dlq.first-failed-at"), _appended_at(record)),
    )


def _appended_at(record: Record) -> datetime:
    return datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)


def _printable(value: bytes) -> str:
    return value.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _small(text: str) -> int:
    return min(int(text), 2**31 - 1)


def _read(reader: Callable[[str], T], text: str | None, otherwise: T) -> T:
    try:
        return otherwise if text is None else reader(text)
    except ValueError:
        return otherwise


def _touch_days(connection: DbConnection, effects: Effects, source_ids: resolve.Ids) -> None:
    """Mark the CSV files of the days as outdated. Called last, because concurrent loaders lock the same rows here."""
    days = sorted((source_ids[source], day) for source, day in effects.days)
    connection.execute(
        "INSERT INTO facts.export_days (source_id, date) SELECT * FROM unnest(%s::int[], %s::date[])"
        " ON CONFLICT (source_id, date) DO UPDATE SET touched = export_days.touched + 1",
        ([source_id for source_id, _ in days], [day for _, day in days]),
    )


def _store_predictions(connection: DbConnection, batch: Sequence[Received]) -> None:
    if not batch:
        return
    known = resolve.events(connection, {item.message.event_key for item in batch})
    unknown = [item for item in batch if item.message.event_key not in known]
    if unknown:
        raise InvalidEvent(
            f"the prediction's event {unknown[0].message.event_key} was never loaded; redrive the record when it is"
        )
    rows: dict[UUID, Row] = {item.event_id: _prediction_row(item.event_id, item.message) for item in batch}
    merge(connection, {PREDICTIONS: list(rows.values())}, {"events": known})


def _prediction_row(event_id: UUID, prediction: Prediction) -> Row:
    probabilities: list[dict[str, Any]] = [item.model_dump() for item in prediction.probabilities]
    decision = json_text(prediction.decision.model_dump()) if prediction.decision else None
    return (
        event_id, prediction.event_key, prediction.state, prediction.model_version, prediction.as_of,
        prediction.shadow, prediction.feature_hash, json_text(probabilities), decision,
    )  # fmt: skip


def as_written(item: Received) -> Received:
    """The item with the revision in its record's headers instead of the replay's."""
    written = revision_of(item.record.headers)
    return item if written == item.revision else item._replace(revision=written)


def _told(item: Told, ids: resolve.Ids, revision: str) -> NewRecord:
    fact = item.received.message
    message = LoadedEvent(
        source=fact.source, event_key=fact.event_key, kind=fact.kind, version=item.version, known_at=item.known_at,
        scheduled_at=item.scheduled_at, status=item.status, row_id=ids[fact.event_key], changed=item.changed,
    )  # fmt: skip
    return encode(message, LOADED, "loaded-event/1", item.received.event_id, HOP, revision)


def _told_reference(item: Received) -> NewRecord:
    base: Reference = item.message
    message = LoadedEvent(
        source=base.source, event_key=base.event_key, kind="reference", version=1, known_at=base.known_at
    )
    return encode(message, LOADED, "loaded-event/1", item.event_id, HOP, item.revision)
