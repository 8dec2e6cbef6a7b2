"""Incidents of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from headrace.audit.report import FINDING_COUNTS
from services.notifier.alerts.incidents import Incident
from services.notifier.kinds import PipelineKind
from tests.services.notifier.alerts.readings import NOON

DOWN: Mapping[str, Any] = {"replicas": 0, "needed": 1, "not_ready": 0, "reasons": [], "heartbeat_at": NOON.isoformat()}
LOSSES = {"model": "m1", "state": "card", "events": 300, "log_loss": 1.81234, "base_log_loss": 1.7}
CASES: list[tuple[PipelineKind, str, Mapping[str, Any]]] = [
    ("stage-down", "loader", DOWN),
    ("stage-down", "loader", {**DOWN, "not_ready": 1, "reasons": ["loader-0: backing off"]}),
    (
        "partition-held",
        "cleaner/raw-events",
        {"service": "cleaner", "topic": "raw-events", "partitions": [1], "cause": "x"},
    ),
    (
        "lag-growing",
        "cleaner/raw-events",
        {"service": "cleaner", "topic": "raw-events", "records": 900, "oldest_s": 300.0},
    ),
    ("windows-failed", "fetcher", {"failed": 2, "suspect": 0, "examples": ["river/results/2031-05-04: HTTP 500"]}),
    ("windows-failed", "fetcher", {"failed": 0, "suspect": 1, "examples": []}),
    (
        "window-changed",
        "river/results/2031-05-04",
        {
            "windows": ["river/results/2031-05-04"],
            "events": 2,
            "newest_at": NOON.isoformat(),
            "examples": ["river:2031-05-04:03:02 changed (place)", "river:2031-05-04:03:03 added"],
        },
    ),
    (
        "window-changed",
        "several windows",
        {
            "windows": ["river/results/2031-05-04", "river/results/2031-05-05"],
            "events": 9,
            "newest_at": NOON.isoformat(),
            "examples": ["river/results/2031-05-04: 3 events", "river/results/2031-05-05: 6 events"],
        },
    ),
    ("dead-letters", "cleaner", {"new": 12, "open": 30, "cause": "InvalidEvent"}),
    ("model-behind", "m1/card", LOSSES),
    ("audit-missing", "findings", {"findings": dict.fromkeys(FINDING_COUNTS, 1), "audit_at": NOON.isoformat()}),
    ("audit-missing", "overdue", {"audit_at": NOON.isoformat()}),
    (
        "quality",
        "thresholds",
        {
            "broken": {"days": 3},
            "examples": ["days without events: 3"],
            "days": "2031-05-01 to 2031-05-03",
            "report_at": NOON.isoformat(),
        },
    ),
    ("bot-token", "discord", {"reason": "HTTP 401", "changed_at": NOON.isoformat()}),
]


def incident(
    kind: PipelineKind = "stage-down", subject: str = "loader", detail: Mapping[str, Any] = DOWN, **changes: Any
) -> Incident:
    values = {"id": 12, "rule": kind, "severity": "critical", "opened_at": NOON, "last_seen_at": NOON, **changes}
    return Incident(kind=kind, subject=subject, detail=detail, **values)


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)
