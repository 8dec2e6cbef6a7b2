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
from headrace.audit.accounting import Death, RecordEvidence
from headrace.audit.holding import Held, Holding
from headrace.audit.readers.archive import Origin, Origins
from headrace.audit.readers.tables import Tables
from headrace.audit.readers.topics import Positions, Progress, TopicReading
from headrace.audit.topic_records import CleanRecords, Letters, RawRecords, key_of, reason_of_filter
from headrace.audit.window import AuditWindow
from shared.broker.contract import Record
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW

# Services whose dead letters are fetched records. The dead letters of other services are about derived records.
ON_THE_WAY = ("fetcher", "cleaner", "loader")


@dataclass(frozen=True)
class Readers:
    """Functions that read the places of an audit. `archive` gets the cursors and all event_ids found elsewhere."""

    progress: Callable[[], Progress]
    tables: Callable[[], Tables]
    outbox: Callable[[], Mapping[str, Sequence[Record]]]
    topics: TopicReading
    archive: Callable[[Mapping[str, bytes], Container[str]], Origins]


@dataclass(frozen=True)
class Evidence:
    """All evidence within the window. `records`: by event_id. `keys`: the event keys in scope if the window is one of
    fetch times; None stands for every key. `prediction_keys`: by prediction id."""

    window: AuditWindow
    records: Mapping[str, RecordEvidence]
    keys: Set[str] | None
    positions: Mapping[str, Positions]
    tables: Tables
    outbox: Mapping[str, Sequence[Record]]
    letters: Letters
    retrying: Mapping[str, str]
    topics: Mapping[str, Holding]
    predicted: Mapping[str, str]
    origins: Origins

    def is_asked(self, key: str) -> bool:
        return self.keys is None or key in self.keys


def collect(readers: Readers, window: AuditWindow) -> Evidence:
    positions, cursors = readers.progress()
    tables = readers.tables()
    keys = tables.parked | tables.keys
    outbox = readers.outbox()
    letters = topic_records.read_letters(readers.topics, outbox, window, keys)
    retry_topics, retrying = topic_records.read_retries(readers.topics, positions)
    cleaned = topic_records.read_clean(readers.topics, window, tables, positions["loader"], keys)
    raw = topic_records.read_raw(readers.topics, window, tables, cleaned, positions["cleaner"], keys)
    origins = readers.archive(cursors, keys.keys() | letters.dead.keys())
    for event_id, origin in origins.records.items():
        keys.setdefault(event_id, origin.key)
    found = _Found(positions, tables, letters, retrying, cleaned, raw, origins.records)
    every = (found.record(event_id, key) for event_id, key in keys.items())
    records = {each.event_id: each for each in every if window.has_time(each.at_ms)}
    event_keys = None if window.is_timeless else {each.key for each in records.values()}
    loaded, predictions, predicted = _read_results(readers.topics, window, event_keys)
    holdings = (*letters.topics, *retry_topics, cleaned.holding, raw.holding, loaded, predictions)
    topics = {each.topic: each for each in holdings}
    return Evidence(
        window, records, event_keys, positions, tables, outbox, letters, retrying, topics, predicted, origins
    )


def _read_results(
    topics: TopicReading, window: AuditWindow, keys: Set[str] | None
) -> tuple[Holding, Holding, dict[str, str]]:
    """Read loaded-events and predictions; returns both, and the event key by prediction id. `keys`: only these
    events."""

    def is_wanted(record: Record) -> bool:
        key = key_of(record)
        return window.has_key(key) and (keys is None or key in keys)

    loaded, predictions = Holding(LOADED), Holding(PREDICTIONS)
    for _ in loaded.fill(topics, is_wanted):
        pass
    filled = predictions.fill(topics, is_wanted, inputs_of)
    return loaded, predictions, {event_id: key_of(record) for record, event_id, _ in filled}


class _Found(NamedTuple):
    """All readings that decide the fate of a fetched record."""

    positions: Mapping[str, Positions]
    tables: Tables
    letters: Letters
    retrying: Mapping[str, str]
    cleaned: CleanRecords
    raw: RawRecords
    origins: Mapping[str, Origin]

    def record(self, event_id: str, key: str) -> RecordEvidence:
        origin = self.origins.get(event_id)
        raw = self.raw.holding.first.get(event_id)
        clean = self.cleaned.holding.first.get(event_id)
        raw_due = self._is_raw_due(key, raw, origin)
        return RecordEvidence(
            event_id,
            key,
            at_ms=next((each.at_ms for each in (raw, clean) if each), origin.fetched_ms if origin else None),
            archived=origin is not None,
            rejected=event_id in self.letters.rejected or (origin is not None and origin.rejected),
            raw=raw.place(RAW) if raw else None,
            raw_due=raw_due,
            raw_passed=raw is not None and self.raw.holding.is_passed(raw, self.positions["cleaner"]),
            clean=clean.place(CLEAN) if clean else None,
            clean_due=self.cleaned.holding.is_due(key, raw.at_ms if raw else None),
            clean_passed=clean is not None and self.cleaned.holding.is_passed(clean, self.positions["loader"]),
            rows=self.tables.rows.get(event_id) or self.cleaned.base.get(event_id),
            parked=event_id in self.tables.parked,
            retrying=self.retrying.get(event_id),
            dead=self._deaths(event_id),
            says_nothing=self._silence(event_id, origin, raw_due),
        )

    def _is_raw_due(self, key: str, raw: Held | None, origin: Origin | None) -> bool:
        if origin is None:
            return raw is not None or self.raw.is_due(key, None)
        return origin.rejected or self.raw.is_due(key, origin.fetched_ms)

    def _deaths(self, event_id: str) -> tuple[Death, ...]:
        """From the topic, or from the table if retention has removed them from the topic."""
        deaths = self.letters.dead.get(event_id) or self.tables.dead.get(event_id) or ()
        return tuple(each for each in deaths if each.service in ON_THE_WAY)

    def _silence(self, event_id: str, origin: Origin | None, raw_due: bool) -> str | None:
        if origin is not None and origin.value is not None and not raw_due:
            return reason_of_filter(origin.value)
        return self.cleaned.silent.get(event_id) or self.raw.silent.get(event_id)


class _Prediction(msgspec.Struct):
    inputs: tuple[str, ...] = ()


_PREDICTION = msgspec.json.Decoder(_Prediction)


def inputs_of(prediction: Record) -> str:
    """The inputs of a prediction. The same prediction is published once for each input record it follows from."""
    try:
        return "/".join(_PREDICTION.decode(prediction.value).inputs)
    except msgspec.DecodeError:
        return ""
