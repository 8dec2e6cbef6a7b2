"""The values of a template's variables for an incident. texts/variables.py describes them.

Causes come from logs and documents, so they are escaped like names.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from services.notifier.alerts.guides import guide_of
from services.notifier.alerts.incidents import Incident
from services.notifier.texts.message import RenderedText, escape
from services.notifier.texts.templates import time_text


def variables_of(incident: Incident, is_second: bool = False) -> dict[str, object]:
    """`is_second`: of the second message, which gives the end where the first message cannot be edited."""
    guide = guide_of(incident)
    return {
        "title": guide.title,
        "subject": incident.subject,
        "summary": RenderedText("\n".join(_facts(incident))),
        "meaning": RenderedText(guide.meaning),
        "commands": [RenderedText(command) for command in guide.commands],
        "runbook": RenderedText(guide.runbook),
        "severity": incident.severity,
        "state": incident.state,
        "is_second": is_second,
        "incident": incident.id,
        "opened_at": incident.opened_at,
        "acknowledged_at": incident.acknowledged_at,
        "acknowledged_by": _actor(incident),
        "resolved_at": incident.resolved_at,
        "duration": _duration(incident),
    }


def _facts(incident: Incident) -> Iterable[str]:
    detail = incident.detail
    match incident.kind:
        case "stage-down":
            yield f"{detail['replicas']} of {detail['needed']} replicas work."
            yield from map(escape, detail["reasons"][:1])
        case "partition-held":
            partitions = ", ".join(map(str, detail["partitions"]))
            yield f"Partitions {partitions}" + (f": {escape(detail['cause'])}" if detail["cause"] else "")
        case "lag-growing":
            yield f"{detail['records']:,} records wait, the oldest for {_span(detail['oldest_s'])}."
        case "windows-failed":
            yield f"{detail['failed']:,} failed, {detail['suspect']:,} suspect."
        case "window-changed":
            windows = f" in {len(detail['windows']):,} windows" if len(detail["windows"]) > 1 else ""
            yield f"Events that differ from the document before: {detail['events']:,}{windows}."
            yield from map(escape, detail["examples"][:2])
        case "dead-letters":
            yield f"{detail['new']:,} new within an hour, {detail['open']:,} open; mostly {escape(detail['cause'])}."
        case "model-behind":
            losses = f"log loss {detail['log_loss']:.4f} nats against {detail['base_log_loss']:.4f}"
            yield f"{losses} over {detail['events']:,} events."
        case "audit-missing":
            yield f"The last audit was {time_text(datetime.fromisoformat(detail['audit_at']))}."
            for kind, count in detail.get("findings", {}).items():
                yield f"{escape(kind)}: {count:,}"
        case "quality":
            counts = ", ".join(f"{escape(name)} ({count:,})" for name, count in detail["broken"].items())
            yield f"Broken thresholds of {escape(detail['days'])}: {counts}."
            yield from map(escape, detail["examples"][:1])
        case "bot-token":
            yield escape(detail["reason"])


def _actor(incident: Incident) -> str | None:
    """The person's name alone, if a token acted on behalf of one: `token:NAME on behalf of discord:USERID (name)`.

    The id stays in the trail.
    """
    token, _, person = (incident.acknowledged_by or "").partition(" on behalf of ")
    name = person.partition(" (")[2].removesuffix(")")
    return name or person or token or ("an operator" if incident.acknowledged_at is not None else None)


def _duration(incident: Incident) -> str | None:
    return None if incident.resolved_at is None else _span((incident.resolved_at - incident.opened_at).total_seconds())


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3_600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h"
