"""One look at a whole pipeline: every id's evidence, and all that must not be. May be mistaken about what is moving."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from headrace.audit.accounting import Evidence, Fate, Finding, confirmed, fate
from headrace.audit.archive_reading import read_origins
from headrace.audit.downstream import Hop, look_downstream
from headrace.audit.evidence import Gathering
from headrace.audit.row_reading import differing
from headrace.audit.table_reading import read_tables, snapshot
from headrace.audit.topic_reading import BrokerReading, LogReading, outbox_records
from headrace.audit.window import AuditWindow
from services.fetcher.sources.declaration import Source
from shared.broker.contract import Broker, Record
from shared.records import LIVE
from shared.topics import (
    CLEAN,
    DEAD_LETTERS,
    FETCHER_CURSORS,
    LOADED,
    PREDICTIONS,
    RAW,
    WRITTEN_WITH_ROWS,
    retry_topic,
)

Rows = psycopg.Connection[Any]
# Whose positions matter, and of what.
READS = {"cleaner": [RAW], "loader": [CLEAN, PREDICTIONS, *DEAD_LETTERS], "predictor": [LOADED]}
# On Kafka a position may be seen before the records of the same transaction.
SECOND_LOOK_S = 2.0


@dataclass
class Look:
    """`windows`: of the archive, followed and not."""

    fates: dict[str, tuple[Evidence, Fate]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    hops: dict[str, Hop] = field(default_factory=dict)
    windows: int = 0
    unfollowed: int = 0


@dataclass(frozen=True)
class Place:
    """Where to look. `archive` None: not there."""

    connection: Rows
    broker: Broker
    embedded: bool
    archive: Path | None
    sources: Mapping[str, Source]


def audit(place: Place, window: AuditWindow, second_look_s: float = SECOND_LOOK_S) -> Look:
    """A look, and where something must not be, a second one; only what both see is so."""
    first = look(place, window)
    if not first.findings:
        return first
    time.sleep(second_look_s)
    second = look(place, window, {each.subject for each in first.findings if each.kind == "rows differ"})
    second.findings = confirmed(first.findings, second.findings)
    return second


def look(place: Place, window: AuditWindow, suspects: Iterable[str] | None = None) -> Look:
    """`suspects`: events whose rows are compared with their versions; by default all."""
    broker = place.broker
    done = {service: broker.committed(service, [*topics, retry_topic(service)]) for service, topics in READS.items()}
    cursors = broker.cursors(FETCHER_CURSORS)
    with snapshot(place.connection):
        gathering = Gathering(window, read_tables(place.connection, window), done)
    gathering.take_tables()
    waiting = {} if place.embedded else _outbox(place)
    reading = LogReading(place.connection) if place.embedded else BrokerReading(broker)
    for service in ("loader", "notifier"):
        for record in waiting.get(f"{service}.dlq", ()):
            gathering.take_dead(record, service)
    gathering.read_dead(reading)
    gathering.read_retries(reading)
    gathering.read_clean(reading)
    gathering.read_raw(reading)
    found = Look()
    if place.archive is not None:
        origins = read_origins(place.archive, cursors, place.sources, (window.first, window.last), gathering.known())
        gathering.take_origins(origins.records)
        found.windows, found.unfollowed = origins.windows, origins.unfollowed
        found.findings += [Finding("unarchived", each.window, "archive", each.detail) for each in origins.unarchived]
    found.fates = {event_id: (each, fate(each)) for event_id, each in gathering.finish().items()}
    found.findings += _missing(found.fates)
    keys = None if window.from_ms is None and window.to_ms is None else {each.key for each, _ in found.fates.values()}
    found.hops, lost = look_downstream(gathering, reading, waiting, keys)
    found.findings += lost
    found.findings += _twice(gathering, keys)
    if window.is_everything:
        found.findings += _holes(gathering)
    with snapshot(place.connection):
        found.findings += differing(place.connection, window, keys if suspects is None else suspects)
    return found


def _outbox(place: Place) -> dict[str, list[Record]]:
    return {topic: list(outbox_records(place.connection, place.broker, topic)) for topic in WRITTEN_WITH_ROWS}


def _missing(fates: Mapping[str, tuple[Evidence, Fate]]) -> Iterator[Finding]:
    for event_id, (found, entry) in fates.items():
        if entry.is_missing:
            seen = f"{entry.place or 'not in any topic'}, rows {found.rows or 'none'}"
            yield Finding("missing", event_id, entry.why, seen, found.key)


def _twice(gathering: Gathering, keys: Container[str] | None) -> Iterator[Finding]:
    for topic in (RAW, CLEAN, LOADED, PREDICTIONS):
        for event_id, key, first, second in gathering.holdings[topic].twice:
            if keys is None or key in keys:
                yield Finding("twice", event_id, topic, f"{first} and {second}", key)
    for (event_id, revision), count in gathering.tables.twice.items():
        key = gathering.tables.keys[event_id]
        if keys is None or key in keys:
            of = "" if revision == LIVE else f" of revision {revision}"
            yield Finding("twice", event_id, "facts.versions", f"{count} versions{of}", key)


def _holes(gathering: Gathering) -> Iterator[Finding]:
    for topic, holding in gathering.holdings.items():
        for tp, begin, end in holding.holes:
            span = f"{tp.topic}/{tp.partition}/{begin}" + (f" to {end - 1}" if end > begin + 1 else "")
            yield Finding("hole", span, topic, f"{end - begin} records are gone from the log")
