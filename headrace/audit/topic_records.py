"""Extracts from each topic the evidence about event_ids, in one reading of the whole topic.

`keys` maps every event_id found so far to its event key; each reading adds to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from headrace.audit.accounting import DeadLetterEvidence
from headrace.audit.holding import RecordPlace, TopicContents, event_id_of
from headrace.audit.readers.tables import RowState, TableContents
from headrace.audit.readers.topics import CommittedOffsets, TopicReading
from headrace.audit.window import AuditWindow
from services.cleaner.clean import Filtered, clean
from services.loader.apply import is_blank_result
from shared.broker.contract import Record
from shared.errors import InvalidEvent
from shared.events import RawEvent, Reference, Withdrawal, as_utc_ms
from shared.records import decode
from shared.topics import CLEAN, RAW, SERVICES, dead_letter_topic, retry_topic

# Documents are fetched in parallel, so records may be appended in another order than their documents were fetched.
FETCH_ORDER_SLACK_MS = 60_000
# By service: the topic whose records are facts that have not reached their rows.
_FACT_TOPICS = {"fetcher": "", "cleaner": RAW, "loader": CLEAN}


class _FetchTime(msgspec.Struct):
    """The field of a raw record that holds the fetch time of its document, by the fetcher's clock."""

    fetched_at: datetime


_FETCH_TIME = msgspec.json.Decoder(_FetchTime)


@dataclass(frozen=True)
class DeadLetterRecords:
    """Dead letters by event_id. `places`: (event_id, key) by (topic, place), of dead letters that have reached their
    topic; `rejected`: event_ids of the fetcher's dead letters."""

    topics: list[TopicContents] = field(default_factory=list)
    by_event_id: dict[str, list[DeadLetterEvidence]] = field(default_factory=lambda: defaultdict(list))
    places: dict[tuple[str, RecordPlace], tuple[str, str]] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)

    def add(self, record: Record, service: str, window: AuditWindow, keys: dict[str, str]) -> None:
        text = {name: value.decode(errors="replace") for name, value in record.headers.items()}
        cause = f"{text.get('dlq.exception-class', 'unknown')}: {text.get('dlq.exception-message', '')}"
        event_id = event_id_of(record)
        self.by_event_id[event_id].append(DeadLetterEvidence(service, record.place, cause))
        if service == "fetcher":
            self.rejected.add(event_id)
        key = key_of(record)
        is_fact = text.get("dlq.original-topic") == _FACT_TOPICS.get(service)
        if is_fact and (window.is_everything or (service != "fetcher" and window.has_key(key))):
            keys.setdefault(event_id, key)


def read_dead_letters(
    topics: TopicReading, outbox: Mapping[str, Iterable[Record]], window: AuditWindow, keys: dict[str, str]
) -> DeadLetterRecords:
    """The dead letters of all services, including those in the outbox that have not reached their topic."""
    dead_letters = DeadLetterRecords()
    for service in ("loader", "notifier"):
        for record in outbox.get(dead_letter_topic(service), ()):
            dead_letters.add(record, service, window, keys)
    for service in SERVICES:
        contents = TopicContents(dead_letter_topic(service))
        dead_letters.topics.append(contents)
        for record, event_id, place in contents.read(topics):
            dead_letters.add(record, service, window, keys)
            dead_letters.places[contents.topic, place] = event_id, key_of(record)
    return dead_letters


def read_retries(
    topics: TopicReading, positions: Mapping[str, CommittedOffsets]
) -> tuple[list[TopicContents], dict[str, str]]:
    """The retry topics of all services, and by event_id the place of each record that its service has not read yet."""
    retry_topics, unread = [], {}
    for service in SERVICES:
        contents = TopicContents(retry_topic(service))
        retry_topics.append(contents)
        for record, event_id, place in contents.read(topics):
            if not contents.is_read(place, positions.get(service, {})):
                unread[event_id] = record.place
    return retry_topics, unread


@dataclass(frozen=True)
class CleanRecords:
    """The contents of clean-events. `reference_states`: by event_id, whether the rows of reference data hold the
    record's values; `filter_reasons`: why the loader stored no version."""

    contents: TopicContents
    reference_states: dict[str, RowState | None] = field(default_factory=dict)
    filter_reasons: dict[str, str] = field(default_factory=dict)


def read_clean(
    topics: TopicReading, window: AuditWindow, tables: TableContents, loader: CommittedOffsets, keys: dict[str, str]
) -> CleanRecords:
    """`loader`: the loader's positions."""
    clean_records = CleanRecords(TopicContents(CLEAN))
    first = clean_records.contents.first
    for record, event_id, place in clean_records.contents.read(topics, lambda record: window.has_key(key_of(record))):
        keys.setdefault(event_id, key_of(record))
        in_tables = event_id in tables.rows or event_id in tables.parked
        if first[event_id] is place and not in_tables and clean_records.contents.is_read(place, loader):
            _explain_missing_version(record, event_id, tables, clean_records)
    return clean_records


def _explain_missing_version(record: Record, event_id: str, tables: TableContents, clean_records: CleanRecords) -> None:
    """Record why the loader made no version: the record is reference data, or it holds no values and nothing was known
    before."""
    try:
        message = decode(record).message
    except InvalidEvent:
        return
    if isinstance(message, Reference):
        clean_records.reference_states[event_id] = tables.reference_state(message)
    elif isinstance(message, Withdrawal):
        clean_records.filter_reasons[event_id] = "nothing to withdraw"
    elif tables.is_after_as_of(message):
        clean_records.filter_reasons[event_id] = "known after the as-of time of this database"
    elif is_blank_result(message):
        first = clean_records.contents.first
        settled = tables.settled.get(key_of(record), ())
        if not any(other in first and first[other].offset < record.offset for other in settled):
            clean_records.filter_reasons[event_id] = "no result yet"


@dataclass(frozen=True)
class RawRecords:
    """The contents of raw-events. `filter_reasons`: by event_id, why the cleaner published nothing; `oldest_ms`: by
    partition, the fetch time of its oldest record."""

    contents: TopicContents
    filter_reasons: dict[str, str | None] = field(default_factory=dict)
    oldest_ms: dict[int, int] = field(default_factory=dict)

    def is_due(self, key: str, fetched_ms: int | None) -> bool:
        """Whether the topic must still hold a record of this key that was fetched at that time."""
        tp = self.contents.partition_of(key)
        if self.contents.extents[tp].begin == 0:
            return True
        oldest_ms = self.oldest_ms.get(tp.partition)
        return fetched_ms is not None and oldest_ms is not None and fetched_ms > oldest_ms + FETCH_ORDER_SLACK_MS


def read_raw(
    topics: TopicReading,
    window: AuditWindow,
    tables: TableContents,
    clean_records: CleanRecords,
    cleaner: CommittedOffsets,
    keys: dict[str, str],
) -> RawRecords:
    """`cleaner`: the cleaner's positions."""
    raw_records = RawRecords(TopicContents(RAW))
    first = raw_records.contents.first
    for record, event_id, place in raw_records.contents.read(topics, lambda record: window.has_key(key_of(record))):
        if place.partition not in raw_records.oldest_ms:
            raw_records.oldest_ms[place.partition] = _fetched_ms(record)
        keys.setdefault(event_id, key_of(record))
        is_downstream = event_id in clean_records.contents.first or event_id in tables.rows
        if first[event_id] is place and not is_downstream and raw_records.contents.is_read(place, cleaner):
            raw_records.filter_reasons[event_id] = filter_reason(record.value)
    return raw_records


def filter_reason(raw: bytes) -> str | None:
    """Why the cleaner publishes nothing for this raw record; None if it publishes a fact, or rejects the record."""
    try:
        cleaned = clean(RawEvent.model_validate_json(raw))
    except (InvalidEvent, ValueError):
        return None
    return cleaned.reason if isinstance(cleaned, Filtered) else None


def key_of(record: Record) -> str:
    return record.key.decode(errors="replace")


def _fetched_ms(record: Record) -> int:
    try:
        return as_utc_ms(_FETCH_TIME.decode(record.value).fetched_at)
    except msgspec.DecodeError:
        return record.timestamp_ms
