"""The states of an incident, and its texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from headrace.audit.report import FINDING_COUNTS
from headrace.cli import build_app
from services.notifier.alerts import incidents
from services.notifier.alerts.conditions import Condition
from services.notifier.alerts.incidents import Incident
from services.notifier.alerts.text import guide_of, incident_content, incident_text, resolution_text
from services.notifier.kinds import PipelineKind
from services.notifier.texts.message import MAX_LENGTH
from shared.ops.operations import NotPossible
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
    ("dead-letters", "cleaner", {"new": 12, "open": 30, "cause": "InvalidEvent"}),
    ("model-behind", "m1/card", LOSSES),
    ("audit-missing", "findings", {"findings": dict.fromkeys(FINDING_COUNTS, 1), "audit_at": NOON.isoformat()}),
    ("audit-missing", "overdue", {"audit_at": NOON.isoformat()}),
    ("bot-token", "discord", {"reason": "HTTP 401", "changed_at": NOON.isoformat()}),
]
each_case = pytest.mark.parametrize(
    ("kind", "subject", "detail"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES]
)


def incident(
    kind: PipelineKind = "stage-down", subject: str = "loader", detail: Mapping[str, Any] = DOWN, **changes: Any
) -> Incident:
    values = {"id": 12, "rule": kind, "severity": "critical", "opened_at": NOON, "last_seen_at": NOON, **changes}
    return Incident(kind=kind, subject=subject, detail=detail, **values)


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_an_incident_is_open_then_acknowledged_then_resolved() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:night-shift", later(1))
    resolved = incidents.resolve(acknowledged, later(2))

    assert [each.state for each in (incident(), acknowledged, resolved)] == ["open", "acknowledged", "resolved"]
    assert (resolved.acknowledged_by, resolved.resolved_at) == ("token:night-shift", later(2))


def test_the_first_acknowledgement_counts() -> None:
    first = incidents.acknowledge(incident(), "token:a", later(1))

    assert incidents.acknowledge(first, "token:b", later(2)) == first


def test_a_resolved_incident_is_neither_acknowledged_nor_resolved_again() -> None:
    resolved = incidents.resolve(incident(), later(1))

    with pytest.raises(NotPossible, match="resolved already"):
        incidents.acknowledge(resolved, "token:a", later(2))
    assert incidents.resolve(resolved, later(2)) == resolved


def test_a_refresh_keeps_the_acknowledgement() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:a", later(1))

    refreshed = incidents.refresh(
        acknowledged, Condition("stage-down", "loader", "critical", {"replicas": 1}), later(2)
    )

    assert (refreshed.state, refreshed.detail, refreshed.last_seen_at) == ("acknowledged", {"replicas": 1}, later(2))


def test_opening_and_resolution_have_ids_of_their_own() -> None:
    ids = {of(number) for of in (incidents.record_id, incidents.resolution_id) for number in (1, 2)}

    assert len(ids) == 4


@each_case
def test_a_text_says_what_since_when_and_what_to_do(
    kind: PipelineKind, subject: str, detail: Mapping[str, Any]
) -> None:
    text = incident_text(incident(kind, subject, detail))

    assert text.startswith("**")
    assert "Since 2031-05-04 12:00 UTC." in text
    assert "`headrace " in text
    assert len(text) < MAX_LENGTH


@each_case
def test_each_command_of_a_text_exists(kind: PipelineKind, subject: str, detail: Mapping[str, Any]) -> None:
    root = typer.main.get_command(build_app())

    for line in guide_of(incident(kind, subject, detail)).commands:
        program, *words = line.split()
        with root.make_context(program, ["--help"], resilient_parsing=True) as context:
            command = root.get_command(context, words[0])  # type: ignore[attr-defined]
            assert command is not None, line
            options = {option for parameter in command.params for option in parameter.opts}
            subcommands = getattr(command, "commands", {})
            if len(words) > 1 and words[1] in subcommands:
                options |= {option for parameter in subcommands[words[1]].params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, line


@each_case
def test_each_runbook_exists(kind: PipelineKind, subject: str, detail: Mapping[str, Any], repository: Path) -> None:
    path, _, anchor = guide_of(incident(kind, subject, detail)).runbook.partition("#")

    headings = re.findall(r"^#+ (.*)$", (repository / path).read_text(), re.MULTILINE)

    assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_text_names_who_has_acknowledged_and_has_no_button_then() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:night-shift", later(5))

    assert incident_text(acknowledged).startswith("**Acknowledged: Stage down** · loader")
    assert "Acknowledged by token:night-shift, 2031-05-04 12:05 UTC." in incident_text(acknowledged)
    assert incident_content(incident()).actions == ("hr:ack:12",)
    assert incident_content(acknowledged).actions == ()


def test_the_text_names_the_person_on_whose_behalf_a_token_acts() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:bot on behalf of discord:80351110224678912 (Ada)", later(5))

    assert r"Acknowledged by discord:80351110224678912 \(Ada\), 2031" in incident_text(acknowledged)


def test_the_text_of_a_resolved_incident_gives_its_duration_and_nothing_to_do() -> None:
    resolved = incidents.resolve(incident(), later(150))

    assert "Resolved 2031-05-04 14:30 UTC, after 2 h." in incident_text(resolved)
    assert "`headrace" not in incident_text(resolved)
    assert resolution_text(resolved) == "**Resolved: Stage down** · loader\nResolved 2031-05-04 14:30 UTC, after 2 h."


def test_colours_follow_the_state() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:a", later(1))
    states = [incident(), incident(severity="warning"), acknowledged, incidents.resolve(incident(), later(2))]

    assert [incident_content(each).colour for each in states] == ["critical", "warning", "muted", "good"]


def test_causes_cannot_mention_people_or_format_the_message() -> None:
    reason = "loader-0: @everyone **look** `x` https://example.org"
    hostile = incident(detail={**DOWN, "not_ready": 1, "reasons": [reason]})

    for text in (incident_text(hostile), incident_content(hostile).details):
        assert "@everyone" not in text
        assert r"\*\*look\*\*" in text
        assert "https://" not in text
    assert "@here" not in incident_text(incidents.acknowledge(hostile, "@here", later(1)))


def test_every_kind_has_a_text() -> None:
    assert {case[0] for case in CASES} == set(get_args(PipelineKind))
