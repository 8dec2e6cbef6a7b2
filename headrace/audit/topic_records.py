"""Extracts from each topic the evidence about event_ids, in one reading of the whole topic.

`keys` maps every event_id found so far to its event key; each reading adds to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from headrace.audit.accounting import Death
from headrace.audit.holding import Held, Holding, event_id_of
from headrace.audit.readers.tables import Standing, Tables
from headrace.audit.readers.topics import Positions, TopicReading
from headrace.audit.window import AuditWindow
from services.cleaner.clean import Filtered, clean
from services.loader.apply import says_nothing
from shared.broker.contract import Record
from shared.errors import InvalidEvent
from shared.events import RawEvent, Reference, as_utc_ms
from shared.records import decode
from shared.topics import CLEAN, RAW, SERVICES, dead_letter_topic, retry_topic

# Documents are fetched in parallel, so records may be appended in another order than their documents were fetched.
SLACK_MS = 60_000
# By service: the topic whose records are facts that have not reached their rows.
_FACTS = {"fetcher": "", "cleaner": RAW, "loader": CLEAN}


class _Fetched(msgspec.Struct):
    """The field of a raw record that holds the fetch time of its document, by the fetcher's clock."""

    fetched_at: datetime


_FETCHED = msgspec.json.Decoder(_Fetched)


@dataclass(frozen=True)
class Letters:
    """Dead letters by event_id. `places`: (event_id, key) by (topic, place), of dead letters that have reached their
    topic; `rejected`: event_ids of the fetcher's dead letters."""

    topics: list[Holding] = field(default_factory=list)
    dead: dict[str, list[Death]] = field(default_factory=lambda: defaultdict(list))
    places: dict[tuple[str, Held], tuple[str, str]] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)

    def add(self, record: Record, service: str, window: AuditWindow, keys: dict[str, str]) -> None:
        text = {name: value.decode(errors="replace") for name, value in record.headers.items()}
        cause = f"{text.get('dlq.exception-class', 'unknown')}: {text.get('dlq.exception-message', '')}"
        event_id = event_id_of(record)
        self.dead[event_id].append(Death(service, record.place, cause))
        if service == "fetcher":
            self.rejected.add(event_id)
        key = key_of(record)
        is_fact = text.get("dlq.original-topic") == _FACTS.get(service)
        if is_fact and (window.is_everything or (service != "fetcher" and window.has_key(key))):
            keys.setdefault(event_id, key)


def read_letters(
    topics: TopicReading, outbox: Mapping[str, Iterable[Record]], window: AuditWindow, keys: dict[str, str]
) -> Letters:
    """The dead letters of all services, including those in the outbox that have not reached their topic."""
    letters = Letters()
    for service in ("loader", "notifier"):
        for record in outbox.get(dead_letter_topic(service), ()):
            letters.add(record, service, window, keys)
    for service in SERVICES:
        holding = Holding(dead_letter_topic(service))
        letters.topics.append(holding)
        for record, event_id, held in holding.fill(topics):
            letters.add(record, service, window, keys)
            letters.places[holding.topic, held] = event_id, key_of(record)
    return letters


def read_retries(topics: TopicReading, positions: Mapping[str, Positions]) -> tuple[list[Holding], dict[str, str]]:
    """The retry topics of all services, and by event_id the place of each record that its service has not read yet."""
    holdings, waiting = [], {}
    for service in SERVICES:
        holding = Holding(retry_topic(service))
        holdings.append(holding)
        for record, event_id, held in holding.fill(topics):
            if not holding.is_passed(held, positions.get(service, {})):
                waiting[event_id] = record.place
    return holdings, waiting


@dataclass(frozen=True)
class CleanRecords:
    """The contents of clean-events. `reference_states`: by event_id, whether the rows of reference data hold the
    record's values; `filter_reasons`: why the loader stored no version."""

    holding: Holding
    base: dict[str, Standing | None] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def read_clean(
    topics: TopicReading, window: AuditWindow, tables: Tables, loader: Positions, keys: dict[str, str]
) -> CleanRecords:
    """`loader`: the loader's positions."""
    found = CleanRecords(Holding(CLEAN))
    first = found.holding.first
    for record, event_id, held in found.holding.fill(topics, lambda record: window.has_key(key_of(record))):
        keys.setdefault(event_id, key_of(record))
        in_tables = event_id in tables.rows or event_id in tables.parked
        if first[event_id] is held and not in_tables and found.holding.is_passed(held, loader):
            _explain(record, event_id, tables, found)
    return found


def _explain(record: Record, event_id: str, tables: Tables, found: CleanRecords) -> None:
    """Record why the loader made no version: the record is reference data, or it holds no values and nothing was known
    before."""
    try:
        message = decode(record).message
    except InvalidEvent:
        return
    if isinstance(message, Reference):
        found.base[event_id] = tables.standing(message)
    elif tables.is_beyond(message):
        found.silent[event_id] = "known after the as-of time of this database"
    elif says_nothing(message):
        first = found.holding.first
        settled = tables.settled.get(key_of(record), ())
        if not any(other in first and first[other].offset < record.offset for other in settled):
            found.silent[event_id] = "no result yet"


@dataclass(frozen=True)
class RawRecords:
    """The contents of raw-events. `filter_reasons`: by event_id, why the cleaner published nothing; `oldest_ms`: by
    partition, the fetch time of its oldest record."""

    holding: Holding
    silent: dict[str, str | None] = field(default_factory=dict)
    oldest_ms: dict[int, int] = field(default_factory=dict)

    def is_due(self, key: str, fetched_ms: int | None) -> bool:
        """Whether the topic must still hold a record of this key that was fetched at that time."""
        tp = self.holding.partition_of(key)
        if self.holding.extents[tp].begin == 0:
            return True
        oldest_ms = self.oldest_ms.get(tp.partition)
        return fetched_ms is not None and oldest_ms is not None and fetched_ms > oldest_ms + SLACK_MS


def read_raw(
    topics: TopicReading,
    window: AuditWindow,
    tables: Tables,
    cleaned: CleanRecords,
    cleaner: Positions,
    keys: dict[str, str],
) -> RawRecords:
    """`cleaner`: the cleaner's positions."""
    found = RawRecords(Holding(RAW))
    first = found.holding.first
    for record, event_id, held in found.holding.fill(topics, lambda record: window.has_key(key_of(record))):
        if held.partition not in found.oldest_ms:
            found.oldest_ms[held.partition] = _fetched_ms(record)
        keys.setdefault(event_id, key_of(record))
        went_on = event_id in cleaned.holding.first or event_id in tables.rows
        if first[event_id] is held and not went_on and found.holding.is_passed(held, cleaner):
            found.silent[event_id] = reason_of_filter(record.value)
    return found


def reason_of_filter(raw: bytes) -> str | None:
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
        return as_utc_ms(_FETCHED.decode(record.value).fetched_at)
    except msgspec.DecodeError:
        return record.timestamp_ms
