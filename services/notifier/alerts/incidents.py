"""Defines incidents: open -> acknowledged -> resolved, or open -> resolved.

A resolved incident stays resolved. If its condition returns, a new incident opens, after the rule's `for` as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from services.notifier.alerts.conditions import Condition, Severity
from services.notifier.alerts.timers import IncidentKey
from services.notifier.kinds import PipelineKind
from shared.events import NAMESPACE
from shared.ops.operations import NotPossible

IncidentState = Literal["open", "acknowledged", "resolved"]


@dataclass(frozen=True)
class Incident:
    """A row of notifier.incidents. `last_seen_at`: when its condition was last true. Times are the database's."""

    id: int
    rule: str
    kind: PipelineKind
    subject: str
    severity: Severity
    opened_at: datetime
    last_seen_at: datetime
    detail: Mapping[str, Any]
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None

    @property
    def key(self) -> IncidentKey:
        return IncidentKey(self.rule, self.subject)

    @property
    def state(self) -> IncidentState:
        if self.resolved_at is not None:
            return "resolved"
        return "open" if self.acknowledged_at is None else "acknowledged"


def acknowledge(incident: Incident, by: str, at: datetime) -> Incident:
    """The first acknowledgement counts; a second one changes nothing. Raises NotPossible after the end."""
    if incident.state == "resolved":
        raise NotPossible(
            f"incident {incident.id} is resolved already; `headrace alerts list` shows those that are open"
        )
    return replace(incident, acknowledged_at=at, acknowledged_by=by) if incident.state == "open" else incident


def refresh(incident: Incident, condition: Condition, at: datetime) -> Incident:
    """The incident with the newest values of its condition."""
    return replace(incident, severity=condition.severity, detail=condition.detail, last_seen_at=at)


def resolve(incident: Incident, at: datetime) -> Incident:
    return incident if incident.state == "resolved" else replace(incident, resolved_at=at)


def record_id(incident_id: int) -> UUID:
    """The id of the incident's message in the ledger."""
    return uuid5(NAMESPACE, f"incident/{incident_id}")


def resolution_id(incident_id: int) -> UUID:
    """The id of the second message, for channels that cannot edit the first."""
    return uuid5(NAMESPACE, f"incident/{incident_id}/resolved")
