"""Checks what services publish from rows, and what becomes rows later: loaded-events, predictions, dead letters.

These counts are separate from the fates of fetched records.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.audit.accounting import Finding
from headrace.audit.evidence import Evidence
from headrace.audit.holding import Holding
from shared.topics import CLEAN, LOADED, PREDICTIONS


@dataclass
class Hop:
    """Counts of records that must pass from one place to another. All other fields sum to `expected`."""

    expected: int = 0
    arrived: int = 0
    in_flight: int = 0
    dead: int = 0
    missing: int = 0


def check_downstream(found: Evidence) -> tuple[dict[str, Hop], list[Finding]]:
    """Check rows against loaded-events, and predictions and dead letters against their rows."""
    findings: list[Finding] = []
    hops = {
        f"facts -> {LOADED}": _count_loaded(found, findings),
        f"{PREDICTIONS} -> facts": _count_predicted(found, findings),
        "dead letters -> facts": _count_buried(found, findings),
    }
    return hops, findings


def _count_loaded(found: Evidence, findings: list[Finding]) -> Hop:
    hop, on_its_way = Hop(), Holding(LOADED)
    for record in found.outbox.get(LOADED, ()):
        on_its_way.take(record, record.headers.get("event_id", b"").decode())
    loaded, cleaned = found.topics[LOADED], found.topics[CLEAN].first
    for event_id, key, revision in found.tables.told:
        if not found.is_asked(key):
            continue
        came = cleaned[event_id].at_ms if event_id in cleaned else None
        if (event_id, revision) in loaded.revisions:
            hop.arrived += 1
        elif (event_id, revision) in on_its_way.revisions:
            hop.in_flight += 1
        elif loaded.is_due(key, came):
            hop.missing += 1
            findings.append(Finding("missing", event_id, f"facts -> {LOADED}", key=key))
        else:
            continue
        hop.expected += 1
    return hop


def _count_buried(found: Evidence, findings: list[Finding]) -> Hop:
    """The loader stores every dead letter as a row, so that it can be queried."""
    hop, loader = Hop(), found.positions["loader"]
    for (topic, held), (event_id, key) in found.letters.places.items():
        if not (found.window.has_key(key) and found.is_asked(key)):
            continue
        hop.expected += 1
        if held.place(topic) in found.tables.buried:
            hop.arrived += 1
        elif not found.topics[topic].is_passed(held, loader):
            hop.in_flight += 1
        else:
            hop.missing += 1
            where = f"{topic} -> facts.dead_letters"
            findings.append(Finding("missing", event_id, where, held.place(topic), key))
    return hop


def _count_predicted(found: Evidence, findings: list[Finding]) -> Hop:
    hop, predictions, loader = Hop(), found.topics[PREDICTIONS], found.positions["loader"]
    stored = {event_id: key for event_id, key in found.tables.predictions.items() if found.is_asked(key)}
    for event_id in {**found.predicted, **stored}:
        hop.expected += 1
        held = predictions.first.get(event_id)
        if held is None and predictions.is_due(stored[event_id], None):
            hop.missing += 1
            where, key = f"predictor -> {PREDICTIONS}", stored[event_id]
            findings.append(Finding("missing", event_id, where, "its row exists", key))
        elif event_id in stored:
            hop.arrived += 1
        elif event_id in found.retrying or (held is not None and not predictions.is_passed(held, loader)):
            hop.in_flight += 1
        elif any(death.service == "loader" for death in found.letters.dead.get(event_id, ())):
            hop.dead += 1
        else:
            hop.missing += 1
            place = held.place(PREDICTIONS) if held else ""
            findings.append(
                Finding("missing", event_id, f"{PREDICTIONS} -> facts", place, found.predicted.get(event_id, ""))
            )
    return hop
