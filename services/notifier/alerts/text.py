"""Renders the message of an incident: what is wrong, since when, what it means, and the commands that help.

Causes come from logs and documents, so they are escaped like names. Paths are those of this repository, as in
`runbook_url` of deploy/prometheus/rules/alerts.yml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from services.notifier.alerts.conditions import OVERDUE
from services.notifier.alerts.incidents import Incident
from services.notifier.texts.content import Colour, Content
from services.notifier.texts.message import escape, truncate


class Guide(NamedTuple):
    """What an alert means, the commands for a closer look and a remedy, and its runbook."""

    title: str
    meaning: str
    commands: tuple[str, ...]
    runbook: str


def incident_text(incident: Incident) -> str:
    """The message while the incident is open or acknowledged, and after its end for channels that edit messages."""
    guide = guide_of(incident)
    lines = [f"**{_title(incident, guide)}** · {escape(incident.subject)}"]
    lines += [*_facts(incident), f"Since {_minute(incident.opened_at)}."]
    if incident.acknowledged_at is not None:
        lines.append(f"Acknowledged by {_actor(incident)}, {_minute(incident.acknowledged_at)}.")
    if incident.resolved_at is not None:
        lines.append(_duration_line(incident))
    else:
        lines += [guide.meaning, *(f"`{command}`" for command in guide.commands), f"Runbook: {guide.runbook}"]
    return truncate("\n".join(lines))


def resolution_text(incident: Incident) -> str:
    """The second message, for channels that cannot edit the first one."""
    guide = guide_of(incident)
    return truncate(f"**{_title(incident, guide)}** · {escape(incident.subject)}\n{_duration_line(incident)}")


def incident_content(incident: Incident) -> Content:
    """Colour, button and thread of the message."""
    actions = (f"hr:ack:{incident.id}",) if incident.state == "open" else ()
    return Content(colour=_colour(incident), actions=actions, details="\n".join(_details(incident)))


def guide_of(incident: Incident) -> Guide:
    detail = incident.detail
    match incident.kind:
        case "stage-down":
            guide = _stage_down(incident.subject, detail)
        case "partition-held":
            topic = f"{detail['service']} {detail['topic']}"
            guide = Guide(
                "Partition held back",
                "Too many of its records failed, so the service holds the partition back. Other partitions continue.",
                (f"headrace dead-letters facets {detail['service']}", f"headrace resume {topic}"),
                "docs/runbooks.md#partitiontripped",
            )
        case "lag-growing":
            guide = Guide(
                "Falls behind",
                "The service is slower than its input. Nothing is lost; records wait in the topic.",
                ("headrace lag --partitions", "headrace status", "headrace operations list"),
                "docs/runbooks.md#laggrowing",
            )
        case "windows-failed":
            guide = _windows(detail)
        case "dead-letters":
            guide = Guide(
                "Dead letters",
                "The service could not handle these records and keeps them until they are redriven or discarded.",
                (
                    f"headrace dead-letters facets {incident.subject}",
                    f"headrace dead-letters redrive {incident.subject} --all --dry-run",
                ),
                "docs/runbooks.md#deadletterratio",
            )
        case "model-behind":
            guide = Guide(
                "Model behind the base rate",
                "The live model is worse than the base rate, with 95 % confidence. It keeps predicting.",
                ("headrace models list", "headrace rollback"),
                "docs/runbooks.md#modelbehindbaserate",
            )
        case "audit-missing":
            guide = _audit(incident.subject)
        case "bot-token":
            guide = Guide(
                "Discord refuses the bot's token",
                "The bot is offline: no commands, no buttons, and its messages wait. Write a new token into the file"
                " that `notifier.bot_token_file` names.",
                ("headrace config show",),
                "docs/alerts.md#bot-token",
            )
    return guide


def _stage_down(service: str, detail: Mapping[str, Any]) -> Guide:
    if detail["not_ready"]:
        meaning, runbook = "Its replicas run, but too few of them can work.", "docs/runbooks.md#notready"
    else:
        meaning, runbook = "Too few of its replicas send heartbeats.", "docs/runbooks.md#targetdown"
    continues = " Nothing is lost: it continues at its committed position."
    return Guide("Stage down", meaning + continues, ("headrace status", f"headrace lag {service}"), runbook)


def _windows(detail: Mapping[str, Any]) -> Guide:
    if detail["failed"]:
        meaning = "Documents could not be fetched or read. The fetcher tries again, up to an hour apart."
        return Guide("Windows failed", meaning, ("headrace windows --state failed",), "docs/runbooks.md#windowfailed")
    meaning = "Final documents have fewer events than others of their day."
    return Guide("Windows suspect", meaning, ("headrace windows --state suspect",), "docs/runbooks.md#windowsuspect")


def _audit(subject: str) -> Guide:
    if subject == OVERDUE:
        meaning = "Audits ran before, but the last one is too old: a loss would not be noticed."
        return Guide("Audit overdue", meaning, ("headrace audit --record",), "docs/runbooks.md#auditoverdue")
    meaning = "Records are missing, there twice, or differ from their versions. None of these should happen."
    commands = ("headrace audit", "headrace audit --record")
    return Guide("Audit findings", meaning, commands, "docs/runbooks.md#auditfindings")


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
        case "dead-letters":
            yield f"{detail['new']:,} new within an hour, {detail['open']:,} open; mostly {escape(detail['cause'])}."
        case "model-behind":
            losses = f"log loss {detail['log_loss']:.4f} nats against {detail['base_log_loss']:.4f}"
            yield f"{losses} over {detail['events']:,} events."
        case "audit-missing":
            yield f"The last audit was {_minute(datetime.fromisoformat(detail['audit_at']))}."
            for kind, count in detail.get("findings", {}).items():
                yield f"{escape(kind)}: {count:,}"
        case "bot-token":
            yield escape(detail["reason"])


def _details(incident: Incident) -> Iterable[str]:
    """Lines for the thread of the message: more of what is in its text only in part."""
    detail = incident.detail
    for line in (*detail.get("reasons", ()), *detail.get("examples", ())):
        yield escape(line)
    if heartbeat_at := detail.get("heartbeat_at"):
        yield f"Last heartbeat: {_minute(datetime.fromisoformat(heartbeat_at))}"
    yield f"Incident {incident.id}, rule {escape(incident.rule)}. `headrace alerts acknowledge {incident.id}`"


def _title(incident: Incident, guide: Guide) -> str:
    return {"open": "", "acknowledged": "Acknowledged: ", "resolved": "Resolved: "}[incident.state] + guide.title


def _colour(incident: Incident) -> Colour:
    if incident.state == "resolved":
        return "good"
    return "muted" if incident.state == "acknowledged" else incident.severity


def _actor(incident: Incident) -> str:
    """The person alone, if a token acted on behalf of one: `token:NAME on behalf of discord:USERID (name)`."""
    token, _, person = (incident.acknowledged_by or "an operator").partition(" on behalf of ")
    return escape(person or token)


def _duration_line(incident: Incident) -> str:
    end = incident.resolved_at or incident.last_seen_at
    lasted_s = (end - incident.opened_at).total_seconds()
    return f"Resolved {_minute(end)}, after {_span(lasted_s)}."


def _minute(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3_600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h"
