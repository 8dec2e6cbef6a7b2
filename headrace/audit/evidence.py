"""Gathers what is known of each event_id, place by place. The order in which places are asked makes it true while the
pipeline runs: a reader's position before what the reader writes, so that what lies before it has come out again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from headrace.audit.accounting import Death, Evidence
from headrace.audit.archive_reading import Origin
from headrace.audit.table_reading import Tables
from headrace.audit.topic_reading import Held, Holding, TopicReading, event_id_of
from headrace.audit.window import AuditWindow
from services.cleaner.clean import Filtered, clean
from services.loader.apply import says_nothing
from shared.broker.contract import Record, TopicPartition
from shared.broker.keys import partition_of
from shared.errors import InvalidEvent
from shared.events import RawEvent, Reference, as_utc_ms
from shared.records import decode
from shared.topics import CLEAN, RAW, SERVICES, dead_letter_topic, retry_topic

Positions = Mapping[TopicPartition, int]
# Whose dead letters end the way of what was fetched; those of the others are about what came of it.
ON_THE_WAY = ("fetcher", "cleaner", "loader")
# Several documents are fetched at once, and their records appended in another order.
SLACK_MS = 60_000


class _Fetched(msgspec.Struct):
    """The one field of a raw record that says when its document was fetched, by the fetcher's clock."""

    fetched_at: datetime


_FETCHED = msgspec.json.Decoder(_Fetched)


@dataclass
class Gathering:
    """`evidence` by event_id. `done`: positions by service, older than everything else here."""

    window: AuditWindow
    tables: Tables
    done: Mapping[str, Positions]
    evidence: dict[str, Evidence] = field(default_factory=dict)
    dead: dict[str, list[Death]] = field(default_factory=lambda: defaultdict(list))
    letters: dict[tuple[str, Held], tuple[str, str]] = field(default_factory=dict)
    retrying: dict[str, str] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    _rejected: set[str] = field(default_factory=set)
    _oldest_fetched: dict[int, int] = field(default_factory=dict)

    def known(self) -> set[str]:
        """Every id that was met anywhere."""
        return self.evidence.keys() | self.dead.keys() | self.holdings[RAW].first.keys()

    def take_tables(self) -> None:
        for event_id, rows in self.tables.rows.items():
            self._of(event_id, self.tables.keys[event_id]).rows = rows
        for event_id, key in self.tables.parked.items():
            self._of(event_id, key).parked = True

    def take_dead(self, record: Record, service: str) -> None:
        """A record of a service's dead-letter topic, or one on its way there."""
        text = {name: value.decode(errors="replace") for name, value in record.headers.items()}
        cause = f"{text.get('dlq.exception-class', 'unknown')}: {text.get('dlq.exception-message', '')}"
        event_id = event_id_of(record)
        self.dead[event_id].append(Death(service, record.place, cause))
        if service == "fetcher":
            self._rejected.add(event_id)
        key = record.key.decode(errors="replace")
        original = {"fetcher": "", "cleaner": RAW, "loader": CLEAN}.get(service)
        of_a_fact = text.get("dlq.original-topic") == original
        if of_a_fact and (self.window.is_everything or (service != "fetcher" and self.window.has_key(key))):
            self._of(event_id, key)

    def read_dead(self, reading: TopicReading) -> None:
        for service in SERVICES:
            holding = self.holdings[dead_letter_topic(service)] = Holding(dead_letter_topic(service))
            for record, event_id, held in holding.fill(reading, lambda _: True):
                self.take_dead(record, service)
                self.letters[holding.topic, held] = event_id, record.key.decode(errors="replace")

    def read_retries(self, reading: TopicReading) -> None:
        """What a redrive sent back and its service has not read yet."""
        for service in SERVICES:
            topic, done = retry_topic(service), self.done.get(service, {})
            holding = self.holdings[topic] = Holding(topic)
            for record, event_id, held in holding.fill(reading, lambda _: True):
                if held.offset >= done.get(TopicPartition(topic, held.partition), 0):
                    self.retrying[event_id] = record.place

    def read_clean(self, reading: TopicReading) -> None:
        holding = self.holdings[CLEAN] = Holding(CLEAN)
        for record, event_id, held in holding.fill(reading, self._is_wanted):
            found = self._of(event_id, record.key.decode(errors="replace"))
            if found.clean is not None:
                continue
            found.clean = held.place(CLEAN)
            found.clean_passed = held.offset < self.done["loader"].get(TopicPartition(CLEAN, held.partition), 0)
            found.at_ms = found.at_ms or held.at_ms
            if found.rows is None and not found.parked and found.clean_passed:
                self._explain_clean(record, found, held)

    def _explain_clean(self, record: Record, found: Evidence, held: Held) -> None:
        """Why the loader made no version of it: it is base data, or it says nothing where nothing was known yet."""
        try:
            message = decode(record).message
        except InvalidEvent:
            return
        if isinstance(message, Reference):
            found.rows = self.tables.standing(message)
        elif self.tables.is_beyond(message):
            found.says_nothing = "known later than this database shows"
        elif says_nothing(message) and not self._was_settled_before(found.key, held):
            found.says_nothing = "no result yet"

    def _was_settled_before(self, key: str, held: Held) -> bool:
        first = self.holdings[CLEAN].first
        return any(other in first and first[other].offset < held.offset for other in self.tables.settled.get(key, ()))

    def read_raw(self, reading: TopicReading) -> None:
        """After clean-events."""
        holding = self.holdings[RAW] = Holding(RAW)
        for record, event_id, held in holding.fill(reading, self._is_wanted):
            if held.partition not in self._oldest_fetched:
                self._oldest_fetched[held.partition] = _fetched_ms(record)
            found = self._of(event_id, record.key.decode(errors="replace"))
            if found.raw is not None:
                continue
            found.raw, found.at_ms = held.place(RAW), held.at_ms
            found.raw_passed = held.offset < self.done["cleaner"].get(TopicPartition(RAW, held.partition), 0)
            if found.clean is None and found.rows is None and found.raw_passed:
                found.says_nothing = said_of(record.value)

    def take_origins(self, origins: Mapping[str, Origin]) -> None:
        """What the archive says was fetched. After all others."""
        for event_id, origin in origins.items():
            found = self._of(event_id, origin.key)
            found.archived, found.rejected = True, origin.rejected
            if found.at_ms is None:
                found.at_ms = origin.fetched_ms
            if origin.rejected:
                continue
            found.raw_due = self._is_raw_due(found, origin.fetched_ms)
            if origin.value is not None and not found.raw_due:
                found.says_nothing = said_of(origin.value)

    def finish(self) -> dict[str, Evidence]:
        """All evidence of the window, complete."""
        for event_id, found in self.evidence.items():
            found.rejected = found.rejected or event_id in self._rejected
            found.dead = tuple(self._deaths(event_id))
            found.retrying = self.retrying.get(event_id)
            if not found.archived:
                found.raw_due = found.raw is not None or self._is_raw_due(found, None)
            raw = self.holdings[RAW].first.get(event_id)
            found.clean_due = self.is_due(CLEAN, found.key, raw.at_ms if raw else None)
        return {event_id: found for event_id, found in self.evidence.items() if self.window.has_time(found.at_ms)}

    def _deaths(self, event_id: str) -> Iterable[Death]:
        """Where the topic has forgotten them, the table still knows."""
        told = self.dead.get(event_id) or self.tables.dead.get(event_id) or []
        return [each for each in told if each.service in ON_THE_WAY]

    def _is_raw_due(self, found: Evidence, fetched_ms: int | None) -> bool:
        holding, partition = self.holdings[RAW], self._partition(RAW, found.key)
        if holding.extents[TopicPartition(RAW, partition)].begin == 0:
            return True
        oldest_ms = self._oldest_fetched.get(partition)
        return fetched_ms is not None and oldest_ms is not None and fetched_ms > oldest_ms + SLACK_MS

    def is_due(self, topic: str, key: str, written_after_ms: int | None) -> bool:
        return self.holdings[topic].is_due(self._partition(topic, key), written_after_ms)

    def _partition(self, topic: str, key: str) -> int:
        return partition_of(key.encode(), len(self.holdings[topic].extents))

    def _is_wanted(self, record: Record) -> bool:
        return self.window.has_key(record.key.decode(errors="replace"))

    def _of(self, event_id: str, key: str) -> Evidence:
        found = self.evidence.get(event_id)
        if found is None:
            found = self.evidence[event_id] = Evidence(event_id, key)
        return found


def said_of(raw: bytes) -> str | None:
    """Why the cleaner passes nothing on for this raw record; None where it passes on a fact, or refuses it."""
    try:
        said = clean(RawEvent.model_validate_json(raw))
    except (InvalidEvent, ValueError):
        return None
    return said.reason if isinstance(said, Filtered) else None


def _fetched_ms(record: Record) -> int:
    try:
        return as_utc_ms(_FETCHED.decode(record.value).fetched_at)
    except msgspec.DecodeError:
        return record.timestamp_ms
