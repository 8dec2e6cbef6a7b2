"""Says what each kind of alert means, and which commands and which runbook help.

Paths are those of this repository, as in `runbook_url` of deploy/prometheus/rules/alerts.yml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from services.notifier.alerts.conditions import OVERDUE
from services.notifier.alerts.incidents import Incident

# Everything else could end the code span in which a command is shown.
_NOT_IN_A_WORD = re.compile(r"[^A-Za-z0-9._/-]")


class Guide(NamedTuple):
    """What an alert means, the commands for a closer look and a remedy, and its runbook."""

    title: str
    meaning: str
    commands: tuple[str, ...]
    runbook: str


QUALITY_GUIDE = Guide(
    "Poor data quality",
    "The last recorded quality report found values beyond its thresholds.",
    ("headrace quality --from DAY --to DAY --out report.html", "headrace quality --from DAY --to DAY --record"),
    "docs/runbooks.md#qualityfindings",
)
BOT_TOKEN_GUIDE = Guide(
    "Discord refuses the bot's token",
    "The bot is offline: no commands, no buttons, and its messages wait. Write a new token into the file"
    " that `notifier.bot_token_file` names.",
    ("headrace config show",),
    "docs/alerts.md#bot-token",
)


def guide_of(incident: Incident) -> Guide:
    detail = incident.detail
    match incident.kind:
        case "stage-down":
            guide = _stage_down(incident.subject, detail)
        case "partition-held":
            service, topic = _word(detail["service"]), _word(detail["topic"])
            guide = Guide(
                "Partition held back",
                "Too many of its records failed, or stored records are damaged or lost: `headrace status` says which."
                " The service holds the partition back. Other partitions continue.",
                (f"headrace dead-letters facets {service}", f"headrace resume {service} {topic}"),
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
        case "window-changed":
            guide = _changed_document(incident.id)
        case "dead-letters":
            guide = Guide(
                "Dead letters",
                "The service could not handle these records and keeps them until they are redriven or discarded.",
                (
                    f"headrace dead-letters facets {_word(incident.subject)}",
                    f"headrace dead-letters redrive {_word(incident.subject)} --all --dry-run",
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
        case "quality":
            guide = QUALITY_GUIDE
        case "bot-token":
            guide = BOT_TOKEN_GUIDE
    return guide


def _stage_down(service: str, detail: Mapping[str, Any]) -> Guide:
    if detail["not_ready"]:
        meaning, runbook = "Its replicas run, but too few of them can work.", "docs/runbooks.md#notready"
    else:
        meaning, runbook = "Too few of its replicas send heartbeats.", "docs/runbooks.md#targetdown"
    continues = " Nothing is lost: it continues at its committed position."
    return Guide("Stage down", meaning + continues, ("headrace status", f"headrace lag {_word(service)}"), runbook)


def _windows(detail: Mapping[str, Any]) -> Guide:
    if detail["failed"]:
        meaning = "Documents could not be fetched or read. The fetcher tries again, up to an hour apart."
        return Guide("Windows failed", meaning, ("headrace windows --state failed",), "docs/runbooks.md#windowfailed")
    meaning = "Final documents are incomplete, or what the source answers is not a document of their day."
    return Guide("Windows suspect", meaning, ("headrace windows --state suspect",), "docs/runbooks.md#windowsuspect")


def _changed_document(incident_id: int) -> Guide:
    meaning = "The source changed the final document of a closed day. The changed events are loaded as corrections."
    end = " The alert ends when it is acknowledged, or after a day."
    commands = ("headrace windows changes", f"headrace alerts acknowledge {incident_id}")
    return Guide("Document changed", meaning + end, commands, "docs/alerts.md#changed-documents")


def _audit(subject: str) -> Guide:
    if subject == OVERDUE:
        meaning = "Audits ran before, but the last one is too old: a loss would not be noticed."
        return Guide("Audit overdue", meaning, ("headrace audit --record",), "docs/runbooks.md#auditoverdue")
    meaning = "Records are missing, there twice, or differ from their versions. None of these should happen."
    commands = ("headrace audit", "headrace audit --record")
    return Guide("Audit findings", meaning, commands, "docs/runbooks.md#auditfindings")


def _word(name: str) -> str:
    """The name of a service or topic as a word of a command."""
    return _NOT_IN_A_WORD.sub("?", name)
