"""Collects the evidence about every event_id from all places into one immutable result.

The order of reading keeps the result consistent while the pipeline runs: a consumer's position is read before the
topics and tables that the consumer writes, which therefore hold the outcome of every record before that position.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from headrace.audit import topic_records
from headrace.audit.accounting import DeadLetterEvidence, RecordEvidence
from headrace.audit.holding import RecordPlace, TopicContents
from headrace.audit.readers.archive import FetchedRecord, FetchedRecords
from headrace.audit.readers.tables import TableContents
from headrace.audit.readers.topics import AuditedPositions, CommittedOffsets, TopicReading
from headrace.audit.topic_records import CleanRecords, DeadLetterRecords, RawRecords, filter_reason, key_of
from headrace.audit.window import AuditWindow
from shared.broker.contract import Record
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW

# Services whose dead letters are fetched records. The dead letters of other services are about derived records.
UPSTREAM_SERVICES = ("fetcher", "cleaner", "loader")


@dataclass(frozen=True)
class Readers:
    """Functions that read the places of an audit. `archive` gets the cursors and all event_ids found elsewhere."""

    progress: Callable[[], AuditedPositions]
    tables: Callable[[], TableContents]
    outbox: Callable[[], Mapping[str, Sequence[Record]]]
    topics: TopicReading
    archive: Callable[[Mapping[str, bytes], Container[str]], FetchedRecords]


@dataclass(frozen=True)
class AuditEvidence:
    """All evidence within the window. `records`: by event_id. `keys`: the event keys in scope if the window is one of
    fetch times; None stands for every key. `prediction_keys`: by prediction id."""

    window: AuditWindow
    records: Mapping[str, RecordEvidence]
    keys: Set[str] | None
    positions: Mapping[str, CommittedOffsets]
    tables: TableContents
    outbox: Mapping[str, Sequence[Record]]
    dead_letters: DeadLetterRecords
    retry_places: Mapping[str, str]
    topics: Mapping[str, TopicContents]
    prediction_keys: Mapping[str, str]
    origins: FetchedRecords

    def is_in_scope(self, key: str) -> bool:
        return self.keys is None or key in self.keys


def collect(readers: Readers, window: AuditWindow) -> AuditEvidence:
    positions, cursors = readers.progress()
    tables = readers.tables()
    keys = tables.parked | tables.keys
    outbox = readers.outbox()
    letters = topic_records.read_dead_letters(readers.topics, outbox, window, keys)
    retry_topics, retrying = topic_records.read_retries(readers.topics, positions)
    clean = topic_records.read_clean(readers.topics, window, tables, positions["loader"], keys)
    raw = topic_records.read_raw(readers.topics, window, tables, clean, positions["cleaner"], keys)
    origins = readers.archive(cursors, keys.keys() | letters.by_event_id.keys())
    for event_id, origin in origins.records.items():
        keys.setdefault(event_id, origin.key)
    readings = _Readings(positions, tables, letters, retrying, clean, raw, origins.records)
    all_records = (readings.record(event_id, key) for event_id, key in keys.items())
    records = {each.event_id: each for each in all_records if window.has_time(each.at_ms)}
    event_keys = None if window.has_any_time else {each.key for each in records.values()}
    loaded, predictions, predicted = _read_results(readers.topics, window, event_keys)
    contents = (*letters.topics, *retry_topics, clean.contents, raw.contents, loaded, predictions)
    topics = {each.topic: each for each in contents}
    return AuditEvidence(
        window, records, event_keys, positions, tables, outbox, letters, retrying, topics, predicted, origins
    )


def _read_results(
    topics: TopicReading, window: AuditWindow, keys: Set[str] | None
) -> tuple[TopicContents, TopicContents, dict[str, str]]:
    """Read loaded-events and predictions; returns both, and the event key by prediction id. `keys`: only these
    events."""

    def is_wanted(record: Record) -> bool:
        key = key_of(record)
        return window.has_key(key) and (keys is None or key in keys)

    loaded, predictions = TopicContents(LOADED), TopicContents(PREDICTIONS)
    for _ in loaded.read(topics, is_wanted):
        pass
    filled = predictions.read(topics, is_wanted, prediction_inputs)
    return loaded, predictions, {event_id: key_of(record) for record, event_id, _ in filled}


class _Readings(NamedTuple):
    """All readings that decide the fate of a fetched record."""

    positions: Mapping[str, CommittedOffsets]
    tables: TableContents
    dead_letters: DeadLetterRecords
    retry_places: Mapping[str, str]
    clean: CleanRecords
    raw: RawRecords
    origins: Mapping[str, FetchedRecord]

    def record(self, event_id: str, key: str) -> RecordEvidence:
        origin = self.origins.get(event_id)
        raw = self.raw.contents.first.get(event_id)
        clean = self.clean.contents.first.get(event_id)
        raw_due = self._is_raw_due(key, raw, origin)
        return RecordEvidence(
            event_id,
            key,
            at_ms=next((each.at_ms for each in (raw, clean) if each), origin.fetched_ms if origin else None),
            archived=origin is not None,
            rejected=event_id in self.dead_letters.rejected or (origin is not None and origin.rejected),
            raw=raw.text_in(RAW) if raw else None,
            raw_due=raw_due,
            raw_passed=raw is not None and self.raw.contents.is_read(raw, self.positions["cleaner"]),
            clean=clean.text_in(CLEAN) if clean else None,
            clean_due=self.clean.contents.is_due(key, raw.at_ms if raw else None),
            clean_passed=clean is not None and self.clean.contents.is_read(clean, self.positions["loader"]),
            rows=self.tables.rows.get(event_id) or self.clean.reference_states.get(event_id),
            parked=event_id in self.tables.parked,
            retry_place=self.retry_places.get(event_id),
            dead_letters=self._dead_letters_of(event_id),
            filter_reason=self._filter_reason(event_id, origin, raw_due),
        )

    def _is_raw_due(self, key: str, raw: RecordPlace | None, origin: FetchedRecord | None) -> bool:
        if origin is None:
            return raw is not None or self.raw.is_due(key, None)
        return origin.rejected or self.raw.is_due(key, origin.fetched_ms)

    def _dead_letters_of(self, event_id: str) -> tuple[DeadLetterEvidence, ...]:
        """From the topic, or from the table if retention has removed them from the topic."""
        dead_letters = self.dead_letters.by_event_id.get(event_id) or self.tables.dead_letters.get(event_id) or ()
        return tuple(each for each in dead_letters if each.service in UPSTREAM_SERVICES)

    def _filter_reason(self, event_id: str, origin: FetchedRecord | None, raw_due: bool) -> str | None:
        if origin is not None and origin.value is not None and not raw_due:
            return filter_reason(origin.value)
        return self.clean.filter_reasons.get(event_id) or self.raw.filter_reasons.get(event_id)


class _Prediction(msgspec.Struct):
    inputs: tuple[str, ...] = ()


_PREDICTION = msgspec.json.Decoder(_Prediction)


def prediction_inputs(prediction: Record) -> str:
    """The inputs of a prediction. The same prediction is published once for each input record it follows from."""
    try:
        return "/".join(_PREDICTION.decode(prediction.value).inputs)
    except msgspec.DecodeError:
        return ""
