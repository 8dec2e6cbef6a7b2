"""Renders the message of an incident by its rule: the text, and the colour, button and thread beside it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import structlog

from services.notifier.alerts.incidents import Incident
from services.notifier.alerts.variables import variables_of
from services.notifier.rules.rule_book import RuleBook
from services.notifier.texts.content import Colour, Content
from services.notifier.texts.message import escape
from services.notifier.texts.templates import Rendering, time_text

log = structlog.get_logger("notifier.alerts")


def incident_text(incident: Incident, book: RuleBook, is_second: bool = False) -> str:
    """The text in the incident's state. A template that fails is logged, and the default one is used.

    `is_second`: of the second message, which gives the end where the first message cannot be edited.
    """
    rendering = rendering_of(incident, book, is_second)
    if rendering.error is not None:
        log.warning("template_failed", rule=incident.rule, subject=f"incident/{incident.id}", error=rendering.error)
    return rendering.text


def rendering_of(incident: Incident, book: RuleBook, is_second: bool = False) -> Rendering:
    """As `incident_text`, without a log line."""
    return book.text_of(incident.rule, incident.kind, variables_of(incident, is_second))


def incident_content(incident: Incident) -> Content:
    """Colour, button and thread of the message."""
    actions = (f"hr:ack:{incident.id}",) if incident.state == "open" else ()
    return Content(colour=_colour(incident), actions=actions, details="\n".join(_details(incident)))


def _details(incident: Incident) -> Iterable[str]:
    """Lines for the thread of the message: more of what is in its text only in part."""
    detail = incident.detail
    for line in (*detail.get("reasons", ()), *detail.get("examples", ())):
        yield escape(line)
    if heartbeat_at := detail.get("heartbeat_at"):
        yield f"Last heartbeat: {time_text(datetime.fromisoformat(heartbeat_at))}"
    yield f"Incident {incident.id}, rule {escape(incident.rule)}. `headrace alerts acknowledge {incident.id}`"


def _colour(incident: Incident) -> Colour:
    if incident.state == "resolved":
        return "good"
    return "muted" if incident.state == "acknowledged" else incident.severity
