"""Checks what services publish from rows, and what becomes rows later: loaded-events, predictions, dead letters.

These counts are separate from the fates of fetched records.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.audit.accounting import Finding
from headrace.audit.evidence import AuditEvidence
from headrace.audit.holding import TopicContents
from shared.topics import CLEAN, LOADED, PREDICTIONS


@dataclass
class Hop:
    """Counts of records that must pass from one place to another. All other fields sum to `expected`."""

    expected: int = 0
    arrived: int = 0
    in_flight: int = 0
    dead: int = 0
    missing: int = 0


def check_downstream(evidence: AuditEvidence) -> tuple[dict[str, Hop], list[Finding]]:
    """Check rows against loaded-events, and predictions and dead letters against their rows."""
    findings: list[Finding] = []
    hops = {
        f"facts -> {LOADED}": _count_loaded(evidence, findings),
        f"{PREDICTIONS} -> facts": _count_predictions(evidence, findings),
        "dead letters -> facts": _count_dead_letters(evidence, findings),
    }
    return hops, findings


def _count_loaded(evidence: AuditEvidence, findings: list[Finding]) -> Hop:
    hop, in_outbox = Hop(), TopicContents(LOADED)
    for record in evidence.outbox.get(LOADED, ()):
        in_outbox.add(record, record.headers.get("event_id", b"").decode())
    loaded, cleaned = evidence.topics[LOADED], evidence.topics[CLEAN].first
    for event_id, key, revision in evidence.tables.published:
        if not evidence.is_in_scope(key):
            continue
        cleaned_at_ms = cleaned[event_id].at_ms if event_id in cleaned else None
        if (event_id, revision) in loaded.revisions:
            hop.arrived += 1
        elif (event_id, revision) in in_outbox.revisions:
            hop.in_flight += 1
        elif loaded.is_due(key, cleaned_at_ms):
            hop.missing += 1
            findings.append(Finding("missing", event_id, f"facts -> {LOADED}", key=key))
        else:
            continue
        hop.expected += 1
    return hop


def _count_dead_letters(evidence: AuditEvidence, findings: list[Finding]) -> Hop:
    """The loader stores every dead letter as a row, so that it can be queried."""
    hop, loader = Hop(), evidence.positions["loader"]
    for (topic, place), (event_id, key) in evidence.dead_letters.places.items():
        if not (evidence.window.has_key(key) and evidence.is_in_scope(key)):
            continue
        hop.expected += 1
        if place.text_in(topic) in evidence.tables.dead_letter_places:
            hop.arrived += 1
        elif not evidence.topics[topic].is_read(place, loader):
            hop.in_flight += 1
        else:
            hop.missing += 1
            where = f"{topic} -> facts.dead_letters"
            findings.append(Finding("missing", event_id, where, place.text_in(topic), key))
    return hop


def _count_predictions(evidence: AuditEvidence, findings: list[Finding]) -> Hop:
    hop, predictions, loader = Hop(), evidence.topics[PREDICTIONS], evidence.positions["loader"]
    stored = {event_id: key for event_id, key in evidence.tables.predictions.items() if evidence.is_in_scope(key)}
    for event_id in {**evidence.prediction_keys, **stored}:
        hop.expected += 1
        record = predictions.first.get(event_id)
        if record is None and predictions.is_due(stored[event_id], None):
            hop.missing += 1
            where, key = f"predictor -> {PREDICTIONS}", stored[event_id]
            findings.append(Finding("missing", event_id, where, "its row exists", key))
        elif event_id in stored:
            hop.arrived += 1
        elif (
            event_id in evidence.retry_places
            or event_id in evidence.tables.parked_predictions
            or (record is not None and not predictions.is_read(record, loader))
        ):
            hop.in_flight += 1
        elif any(
            dead_letter.service == "loader" for dead_letter in evidence.dead_letters.by_event_id.get(event_id, ())
        ):
            hop.dead += 1
        else:
            hop.missing += 1
            place = record.text_in(PREDICTIONS) if record else ""
            findings.append(
                Finding(
                    "missing", event_id, f"{PREDICTIONS} -> facts", place, evidence.prediction_keys.get(event_id, "")
                )
            )
    return hop
