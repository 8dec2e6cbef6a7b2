"""Audits a whole pipeline: the fate of every record, and the faults.

A single pass may report faults that do not exist, because records move while it reads. `run_audit` therefore repeats a
pass that has findings, and reports only the confirmed ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from headrace.audit.accounting import Fate, Finding, RecordEvidence, confirmed, fate
from headrace.audit.downstream import Hop, check_downstream
from headrace.audit.evidence import Evidence, Readers, collect
from headrace.audit.readers.archive import Origins, read_origins
from headrace.audit.readers.rows import differing
from headrace.audit.readers.tables import read_tables, snapshot
from headrace.audit.readers.topics import BrokerReading, LogReading, read_outbox, read_progress
from headrace.audit.window import AuditWindow
from services.fetcher.sources.declaration import Source
from shared.broker.contract import Broker
from shared.records import LIVE
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW

Rows = psycopg.Connection[Any]
# On Kafka, a position can become visible before the records of the same transaction.
SECOND_LOOK_S = 2.0


@dataclass
class Look:
    """The result of a pass. `fates` and evidence by event_id; `windows`, `unfollowed`: windows of the archive that were
    followed, and windows whose source is not declared here."""

    fates: dict[str, tuple[RecordEvidence, Fate]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    hops: dict[str, Hop] = field(default_factory=dict)
    windows: int = 0
    unfollowed: int = 0


@dataclass(frozen=True)
class Place:
    """The pipeline to audit. `archive`: None if there is no archive, or it is not to be compared."""

    connection: Rows
    broker: Broker
    archive: Path | None
    sources: Mapping[str, Source]


def audit(place: Place, window: AuditWindow, second_look_s: float = SECOND_LOOK_S) -> Look:
    """Run one pass, and a second one after `second_pass_delay_s` if the first has findings. Keeps findings of both."""
    first = look(place, window)
    if not first.findings:
        return first
    time.sleep(second_look_s)
    second = look(place, window, {each.subject for each in first.findings if each.kind == "rows differ"})
    second.findings = confirmed(first.findings, second.findings)
    return second


def look(place: Place, window: AuditWindow, suspects: Iterable[str] | None = None) -> Look:
    """Run one pass. `suspects`: event keys whose rows are compared with their versions; None compares all."""
    evidence = collect(readers_of(place, window), window)
    origins = evidence.origins
    found = Look(windows=origins.windows, unfollowed=origins.unfollowed)
    found.findings += [Finding("unarchived", each.window, "archive", each.detail) for each in origins.unarchived]
    found.fates = {event_id: (each, fate(each)) for event_id, each in evidence.records.items()}
    found.findings += _missing(found.fates)
    found.hops, lost = check_downstream(evidence)
    found.findings += lost
    found.findings += _twice(evidence)
    if window.is_everything:
        found.findings += _holes(evidence)
    with snapshot(place.connection):
        found.findings += differing(place.connection, window, evidence.keys if suspects is None else suspects)
    return found


def readers_of(place: Place, window: AuditWindow) -> Readers:
    return Readers(
        progress=lambda: read_progress(place.broker),
        tables=lambda: read_tables(place.connection, window),
        outbox=lambda: read_outbox(place.connection, place.broker) if place.broker.has_outbox else {},
        topics=LogReading(place.connection) if place.broker.gapless else BrokerReading(place.broker),
        archive=lambda cursors, known: (
            Origins()
            if place.archive is None
            else read_origins(place.archive, cursors, place.sources, (window.first, window.last), known)
        ),
    )


def _missing(fates: Mapping[str, tuple[RecordEvidence, Fate]]) -> Iterator[Finding]:
    for event_id, (found, entry) in fates.items():
        if entry.is_missing:
            seen = f"{entry.place or 'not in any topic'}, rows {found.rows or 'none'}"
            yield Finding("missing", event_id, entry.why, seen, found.key)


def _twice(evidence: Evidence) -> Iterator[Finding]:
    for topic in (RAW, CLEAN, LOADED, PREDICTIONS):
        for event_id, key, first, second in evidence.topics[topic].twice:
            if evidence.is_asked(key):
                yield Finding("twice", event_id, topic, f"{first} and {second}", key)
    for (event_id, revision), count in evidence.tables.twice.items():
        key = evidence.tables.keys[event_id]
        if evidence.is_asked(key):
            of = "" if revision == LIVE else f" of revision {revision}"
            yield Finding("twice", event_id, "facts.versions", f"{count} versions{of}", key)


def _holes(evidence: Evidence) -> Iterator[Finding]:
    for topic, holding in evidence.topics.items():
        for tp, begin, end in holding.holes:
            span = f"{tp.topic}/{tp.partition}/{begin}" + (f" to {end - 1}" if end > begin + 1 else "")
            yield Finding("hole", span, topic, f"{end - begin} records are missing from the log")
