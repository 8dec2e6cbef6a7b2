"""The texts of an incident: the default one of each kind, and those of a rule's template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from headrace.cli import build_app
from services.notifier.alerts import incidents
from services.notifier.alerts.guides import guide_of
from services.notifier.alerts.incidents import Incident
from services.notifier.alerts.text import incident_content, incident_text
from services.notifier.alerts.variables import variables_of
from services.notifier.kinds import PipelineKind
from services.notifier.texts.message import MAX_LENGTH, ZERO_WIDTH_SPACE, utf16_length
from services.notifier.texts.variables import VARIABLES
from tests.services.notifier.alerts.incident_samples import CASES, DOWN, incident, later
from tests.services.notifier.books import book_of, default_book

BOOK = default_book()
each_case = pytest.mark.parametrize(
    ("kind", "subject", "detail"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES]
)


def text_of(each: Incident, is_second: bool = False) -> str:
    return incident_text(each, BOOK, is_second)


@each_case
def test_a_text_says_what_since_when_and_what_to_do(
    kind: PipelineKind, subject: str, detail: Mapping[str, Any]
) -> None:
    text = text_of(incident(kind, subject, detail))

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

    assert text_of(acknowledged).startswith("**Acknowledged: Stage down** · loader")
    assert "Acknowledged by token:night-shift, 2031-05-04 12:05 UTC." in text_of(acknowledged)
    assert incident_content(incident()).actions == ("hr:ack:12",)
    assert incident_content(acknowledged).actions == ()


def test_the_text_names_the_person_on_whose_behalf_a_token_acts() -> None:
    actor = "token:bot on behalf of discord:80351110224678912 (Ada (night))"

    assert r"Acknowledged by Ada \(night\), 2031" in text_of(incidents.acknowledge(incident(), actor, later(5)))


def test_the_text_of_a_resolved_incident_gives_its_duration_and_nothing_to_do() -> None:
    resolved = incidents.resolve(incident(), later(150))

    assert "Resolved 2031-05-04 14:30 UTC, after 2 h." in text_of(resolved)
    assert "`headrace" not in text_of(resolved)
    assert (
        text_of(resolved, is_second=True)
        == "**Resolved: Stage down** · loader\nResolved 2031-05-04 14:30 UTC, after 2 h."
    )


def test_colours_follow_the_state() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:a", later(1))
    states = [incident(), incident(severity="warning"), acknowledged, incidents.resolve(incident(), later(2))]

    assert [incident_content(each).colour for each in states] == ["critical", "warning", "muted", "good"]


def test_causes_cannot_mention_people_or_format_the_message() -> None:
    reason = "loader-0: @everyone **look** `x` https://example.org"
    hostile = incident(detail={**DOWN, "not_ready": 1, "reasons": [reason]})

    for text in (text_of(hostile), incident_content(hostile).details):
        assert "@everyone" not in text
        assert r"\*\*look\*\*" in text
        assert "https://" not in text
    assert "@here" not in text_of(incidents.acknowledge(hostile, "@here", later(1)))


def test_every_kind_has_a_text() -> None:
    assert {case[0] for case in CASES} == set(get_args(PipelineKind))


def test_the_default_text_of_a_stage_that_is_down() -> None:
    down = incident(detail={**DOWN, "not_ready": 1, "reasons": ["loader-0: backing off"]})
    acknowledged = incidents.acknowledge(down, "token:night-shift", later(5))
    guide = [
        "Its replicas run, but too few of them can work. Nothing is lost: it continues at its committed position.",
        "`headrace status`",
        "`headrace lag loader`",
        "Runbook: docs/runbooks.md#notready",
    ]
    facts = ["0 of 1 replicas work.", "loader-0: backing off", "Since 2031-05-04 12:00 UTC."]
    by = "Acknowledged by token:night-shift, 2031-05-04 12:05 UTC."
    end = "Resolved 2031-05-04 12:06 UTC, after 6 min."

    assert text_of(down).split("\n") == ["**Stage down** · loader", *facts, *guide]
    assert text_of(acknowledged).split("\n") == ["**Acknowledged: Stage down** · loader", *facts, by, *guide]
    resolved = incidents.resolve(acknowledged, later(6))
    assert text_of(resolved).split("\n") == ["**Resolved: Stage down** · loader", *facts, by, end]


@each_case
def test_an_incident_has_the_documented_variables(kind: PipelineKind, subject: str, detail: Mapping[str, Any]) -> None:
    acknowledged = incidents.acknowledge(incident(kind, subject, detail), "token:a", later(1))
    open_values, resolved_values = (
        variables_of(each) for each in (incident(kind, subject, detail), incidents.resolve(acknowledged, later(2)))
    )

    for each in VARIABLES[kind]:
        assert type(open_values[each.name]) in {type(each.sparse), list}, each.name
        assert type(resolved_values[each.name]) in {type(each.sample), list}, each.name
    assert open_values.keys() == {each.name for each in VARIABLES[kind]}


def hostile(kind: PipelineKind, subject: str, detail: Mapping[str, Any], name: str) -> Incident:
    """The incident with `name` instead of each text that comes from elsewhere."""

    def replaced(value: Any) -> Any:
        match value:
            case dict():
                return {(key if key in detail else name): replaced(each) for key, each in value.items()}
            case list():
                return [replaced(each) for each in value]
            case str() if value not in [value for name, value in detail.items() if name.endswith("_at")]:
                return name
        return value

    named_subject = subject if kind == "audit-missing" else name
    by = f"token:{name} on behalf of {name}"
    return incidents.acknowledge(incident(kind, named_subject, replaced(dict(detail))), by, later(1))


def marks_of(text: str) -> list[str]:
    """The characters that format, mention or link, outside of code, and the ends of lines."""
    without_code = re.sub(r"`[^`\n]*`", "``", re.sub(r"\\.", "", text))
    return re.findall(rf"[*_~`<>\[\]()|#\n]|@(?!{ZERO_WIDTH_SPACE})|://", without_code)


@each_case
@given(name=st.text(alphabet=st.sampled_from("@eh/:.w*_~`<>[]()|#\\\n \x1b\u200b\u202eé😀"), max_size=200))
def test_a_default_text_has_no_marks_of_names_and_is_within_the_limit(
    kind: PipelineKind, subject: str, detail: Mapping[str, Any], name: str
) -> None:
    acknowledged = hostile(kind, subject, detail, name)
    resolved = incidents.resolve(acknowledged, later(2))
    plain = hostile(kind, subject, detail, "x" * (1 if name else 0))

    for each, is_second in ((acknowledged, False), (resolved, False), (resolved, True)):
        text = text_of(each, is_second)
        same = replace(plain, resolved_at=each.resolved_at)
        assert utf16_length(text) <= MAX_LENGTH
        assert marks_of(text) == marks_of(text_of(same, is_second))


def test_a_default_text_is_cut_at_the_end_of_a_line() -> None:
    counts = {f"{number}{'x' * 80}": 1_000 for number in range(100)}
    text = text_of(incident("audit-missing", "findings", {"audit_at": later(0).isoformat(), "findings": counts}))

    assert MAX_LENGTH - 100 < utf16_length(text) <= MAX_LENGTH
    assert text.endswith(": 1,000")


TEMPLATE = """\
**{{ title }}** {{ subject }} ({{ severity }}, {{ state }})
{% if state == "resolved" %}
over after {{ duration }}{% if is_second %}, see above{% endif %}
{% else %}
{{ summary }}
{% for command in commands %}
{{ command }}
{% endfor %}
{% endif %}
"""


def test_a_template_replaces_the_text_in_every_state() -> None:
    book = book_of(stage_down={"finding": "stage-down", "template": TEMPLATE})
    resolved = incidents.resolve(incident(), later(12))

    assert incident_text(incident(), book) == (
        "**Stage down** loader (critical, open)\n0 of 1 replicas work.\nheadrace status\nheadrace lag loader"
    )
    assert incident_text(resolved, book) == "**Stage down** loader (critical, resolved)\nover after 12 min"
    second = incident_text(resolved, book, is_second=True)
    assert second == "**Stage down** loader (critical, resolved)\nover after 12 min, see above"


@pytest.mark.parametrize(
    "template",
    ['{% if severity == "warning" %}{{ commands }}{% endif %}x', '{% if severity == "critical" %}x{% endif %}'],
    ids=["fails", "empty"],
)
def test_a_template_that_fails_later_is_logged_and_the_default_text_used(template: str) -> None:
    book = book_of(stage_down={"finding": "stage-down", "template": template})
    warning = incident(severity="warning")

    with capture_logs() as logs:
        text = incident_text(warning, book)

    assert text == text_of(warning)
    assert [(each["event"], each["rule"], each["subject"]) for each in logs] == [
        ("template_failed", "stage-down", "incident/12")
    ]


def test_a_template_of_another_kind_is_not_used_for_an_older_incident() -> None:
    book = book_of(stage_down={"finding": "tip", "template": "{{ event }}"})

    with capture_logs() as logs:
        assert incident_text(incident(), book) == text_of(incident())
    assert logs == []


def test_names_in_a_template_are_escaped() -> None:
    book = book_of(
        stage_down={"finding": "stage-down", "template": "{{ subject }} {{ summary }} {{ acknowledged_by }}"}
    )
    name = "@everyone **x**"
    hostile_incident = hostile("stage-down", "loader", {**DOWN, "reasons": [name]}, name)

    text = incident_text(hostile_incident, book)

    assert "@everyone" not in text
    assert "**x**" not in text
