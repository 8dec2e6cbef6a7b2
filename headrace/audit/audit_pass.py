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

from headrace.audit.accounting import Fate, Finding, RecordEvidence, confirmed_findings, decide_fate
from headrace.audit.downstream import Hop, check_downstream
from headrace.audit.evidence import AuditEvidence, Readers, collect
from headrace.audit.readers.archive import FetchedRecords, read_fetched_records
from headrace.audit.readers.rows import differing_rows
from headrace.audit.readers.tables import read_tables, snapshot
from headrace.audit.readers.topics import BrokerReading, LogReading, read_outbox, read_positions
from headrace.audit.window import AuditWindow
from services.fetcher.sources.declaration import Source
from shared.broker.contract import Broker
from shared.records import LIVE
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW

AuditConnection = psycopg.Connection[Any]
# On Kafka, a position can become visible before the records of the same transaction.
SECOND_PASS_DELAY_S = 2.0


@dataclass
class AuditResult:
    """The result of a pass. `fates` and evidence by event_id; `windows`, `unfollowed`: windows of the archive that were
    followed, and windows whose source is not declared here."""

    fates: dict[str, tuple[RecordEvidence, Fate]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    hops: dict[str, Hop] = field(default_factory=dict)
    windows: int = 0
    unfollowed: int = 0
    removed: int = 0


@dataclass(frozen=True)
class AuditTarget:
    """The pipeline to audit. `archive`: None if there is no archive, or it is not to be compared."""

    connection: AuditConnection
    broker: Broker
    archive: Path | None
    sources: Mapping[str, Source]


def run_audit(
    target: AuditTarget, window: AuditWindow, second_pass_delay_s: float = SECOND_PASS_DELAY_S
) -> AuditResult:
    """Run one pass, and a second one after `second_pass_delay_s` if the first has findings. Keeps findings of both."""
    first = run_pass(target, window)
    if not first.findings:
        return first
    time.sleep(second_pass_delay_s)
    second = run_pass(target, window, {each.subject for each in first.findings if each.kind == "rows differ"})
    second.findings = confirmed_findings(first.findings, second.findings)
    return second


def run_pass(target: AuditTarget, window: AuditWindow, suspects: Iterable[str] | None = None) -> AuditResult:
    """Run one pass. `suspects`: event keys whose rows are compared with their versions; None compares all."""
    evidence = collect(readers_of(target, window), window)
    origins = evidence.origins
    result = AuditResult(windows=origins.windows, unfollowed=origins.unfollowed, removed=origins.removed)
    result.findings += [Finding("unarchived", each.window, "archive", each.detail) for each in origins.unarchived]
    result.fates = {event_id: (each, decide_fate(each)) for event_id, each in evidence.records.items()}
    result.findings += _missing_findings(result.fates)
    result.hops, downstream_findings = check_downstream(evidence)
    result.findings += downstream_findings
    result.findings += _duplicate_findings(evidence)
    if window.is_everything:
        result.findings += _hole_findings(evidence)
    with snapshot(target.connection):
        result.findings += differing_rows(target.connection, window, evidence.keys if suspects is None else suspects)
    return result


def readers_of(target: AuditTarget, window: AuditWindow) -> Readers:
    return Readers(
        progress=lambda: read_positions(target.broker),
        tables=lambda: read_tables(target.connection, window),
        outbox=lambda: read_outbox(target.connection, target.broker) if target.broker.has_outbox else {},
        topics=LogReading(target.connection) if target.broker.gapless else BrokerReading(target.broker),
        archive=lambda cursors, known: (
            FetchedRecords()
            if target.archive is None
            else read_fetched_records(target.archive, cursors, target.sources, (window.first, window.last), known)
        ),
    )


def _missing_findings(fates: Mapping[str, tuple[RecordEvidence, Fate]]) -> Iterator[Finding]:
    for event_id, (record, entry) in fates.items():
        if entry.is_missing:
            detail = f"{entry.place or 'not in any topic'}, rows {record.rows or 'none'}"
            yield Finding("missing", event_id, entry.why, detail, record.key)


def _duplicate_findings(evidence: AuditEvidence) -> Iterator[Finding]:
    for topic in (RAW, CLEAN, LOADED, PREDICTIONS):
        for event_id, key, first, second in evidence.topics[topic].duplicates:
            if evidence.is_in_scope(key):
                yield Finding("twice", event_id, topic, f"{first} and {second}", key)
    for (event_id, revision), count in evidence.tables.duplicates.items():
        key = evidence.tables.keys[event_id]
        if evidence.is_in_scope(key):
            suffix = "" if revision == LIVE else f" of revision {revision}"
            yield Finding("twice", event_id, "facts.versions", f"{count} versions{suffix}", key)


def _hole_findings(evidence: AuditEvidence) -> Iterator[Finding]:
    for topic, contents in evidence.topics.items():
        for tp, begin, end in contents.holes:
            span = f"{tp.topic}/{tp.partition}/{begin}" + (f" to {end - 1}" if end > begin + 1 else "")
            yield Finding("hole", span, topic, f"{end - begin} records are missing from the log")
