"""What each topic contributes to the evidence of an event_id, from one reading of the whole topic.

`keys` is the event key of every event_id that was found so far; each reading adds its own.
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

# Several documents are fetched at once, and their records appended in another order.
SLACK_MS = 60_000
# By service: the topic whose records are facts on their way to the rows.
_FACTS = {"fetcher": "", "cleaner": RAW, "loader": CLEAN}


class _Fetched(msgspec.Struct):
    """The one field of a raw record that says when its document was fetched, by the fetcher's clock."""

    fetched_at: datetime


_FETCHED = msgspec.json.Decoder(_Fetched)


@dataclass(frozen=True)
class Letters:
    """Dead letters by event_id. `places`: of those that are in a topic already, (topic, place) to (event_id, key);
    `rejected`: ids of the fetcher's."""

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
    """Those of all services, and those in the outbox that are on their way to a topic."""
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
    """Of all services, and by event_id the place of what a redrive sent back and the service has not read yet."""
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
    """`base`: whether rows of base data hold what the record says; `silent`: why the loader stored nothing."""

    holding: Holding
    base: dict[str, Standing | None] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def read_clean(
    topics: TopicReading, window: AuditWindow, tables: Tables, loader: Positions, keys: dict[str, str]
) -> CleanRecords:
    """`loader`: its positions."""
    found = CleanRecords(Holding(CLEAN))
    first = found.holding.first
    for record, event_id, held in found.holding.fill(topics, lambda record: window.has_key(key_of(record))):
        keys.setdefault(event_id, key_of(record))
        in_tables = event_id in tables.rows or event_id in tables.parked
        if first[event_id] is held and not in_tables and found.holding.is_passed(held, loader):
            _explain(record, event_id, tables, found)
    return found


def _explain(record: Record, event_id: str, tables: Tables, found: CleanRecords) -> None:
    """Why the loader made no version of it: it is base data, or it says nothing where nothing was known yet."""
    try:
        message = decode(record).message
    except InvalidEvent:
        return
    if isinstance(message, Reference):
        found.base[event_id] = tables.standing(message)
    elif tables.is_beyond(message):
        found.silent[event_id] = "known later than this database shows"
    elif says_nothing(message):
        first = found.holding.first
        settled = tables.settled.get(key_of(record), ())
        if not any(other in first and first[other].offset < record.offset for other in settled):
            found.silent[event_id] = "no result yet"


@dataclass(frozen=True)
class RawRecords:
    """`silent`: why the cleaner passed nothing on; `oldest_ms`: by partition, when its oldest record was fetched."""

    holding: Holding
    silent: dict[str, str | None] = field(default_factory=dict)
    oldest_ms: dict[int, int] = field(default_factory=dict)

    def is_due(self, key: str, fetched_ms: int | None) -> bool:
        """Whether the topic must still hold what was fetched then."""
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
    """`cleaner`: its positions."""
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
    """Why the cleaner passes nothing on for this raw record; None where it passes on a fact, or refuses it."""
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
