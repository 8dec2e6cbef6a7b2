"""Which conditions are true in a reading of the pipeline."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from services.notifier.alerts.alert_rules import DEFAULTS, AlertRule
from services.notifier.alerts.backlog_history import BacklogHistory
from services.notifier.alerts.conditions import Condition, conditions_of, is_known
from services.notifier.alerts.reading import (
    AuditReading,
    BotToken,
    DeadLetterReading,
    ModelReading,
    PipelineReading,
    QualityReading,
    TrippedPartition,
    WindowReading,
)
from services.notifier.kinds import PipelineKind
from shared.topics import SERVICES
from tests.services.notifier.alerts.readings import ALL_TOPICS, NOON, default_rules, healthy, replica, rule, without

HISTORY = BacklogHistory()
DOWN = rule("stage-down")


def true_in(alert: AlertRule, reading: PipelineReading, *open_subjects: str) -> list[Condition]:
    return conditions_of(alert, reading, HISTORY, open_subjects)


def subjects(alert: AlertRule, reading: PipelineReading, *open_subjects: str) -> list[str]:
    return [condition.subject for condition in true_in(alert, reading, *open_subjects)]


def test_each_kind_has_a_default_rule_that_sends_to_all_channels() -> None:
    rules = default_rules(["console", "discord"])

    assert {each.kind for each in rules} == set(get_args(PipelineKind)) == set(DEFAULTS)
    assert {each.addresses for each in rules} == {("console", "discord")}


@pytest.mark.parametrize("kind", get_args(PipelineKind))
def test_a_pipeline_that_works_fulfils_no_condition(kind: PipelineKind) -> None:
    assert true_in(rule(kind), healthy()) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_stage_without_a_live_replica_is_down(service: str) -> None:
    (condition,) = true_in(DOWN, without(service))

    assert (condition.subject, condition.severity) == (service, "critical")
    assert condition.detail["replicas"] == 0


def test_a_stage_whose_replicas_are_not_ready_is_down_with_their_reasons() -> None:
    waiting = replica("loader", state="backing off", is_ready=False, reason="backing off: the broker is away")
    others = [each for each in healthy().replicas if each.service != "loader"]

    (condition,) = true_in(DOWN, healthy(replicas=(*others, waiting)))

    assert condition.detail["reasons"] == ["loader-0: backing off: the broker is away"]


def test_a_replica_that_died_does_not_count_but_another_one_does() -> None:
    dead = replica("loader", replica="loader-1", is_live=False)

    assert subjects(DOWN, healthy(replicas=(*healthy().replicas, dead))) == []
    assert subjects(rule("stage-down", threshold=2), healthy(replicas=(*healthy().replicas, dead))) == list(SERVICES)


def test_a_stage_that_holds_a_partition_back_is_not_down() -> None:
    tripped = replica("cleaner", state="tripped", is_ready=False)
    others = [each for each in healthy().replicas if each.service != "cleaner"]

    assert subjects(DOWN, healthy(replicas=(*others, tripped))) == []


def test_a_paused_stage_is_not_down() -> None:
    assert subjects(DOWN, without("cleaner", paused=frozenset({("cleaner", "raw-events")}))) == []
    assert subjects(DOWN, without("loader", paused=frozenset({("loader", "clean-events")}))) == ["loader"]
    assert subjects(DOWN, PipelineReading(NOON, paused=ALL_TOPICS)) == []


def test_held_partitions_of_a_topic_are_one_condition() -> None:
    held = (
        TrippedPartition("cleaner", "raw-events", 3, "InvalidEvent: no"),
        TrippedPartition("cleaner", "raw-events", 1, ""),
    )

    (condition,) = true_in(rule("partition-held"), healthy(held=held))

    assert condition.subject == "cleaner/raw-events"
    assert (condition.detail["partitions"], condition.detail["cause"]) == ([1, 3], "InvalidEvent: no")


def test_failed_and_suspect_windows_count_together() -> None:
    alert = rule("windows-failed", threshold=3)

    assert subjects(alert, healthy(windows=WindowReading(0, 1, 1))) == []
    assert subjects(alert, healthy(windows=WindowReading(0, 2, 1))) == ["fetcher"]
    assert subjects(alert, healthy(windows=WindowReading(0, 1, 1)), "fetcher") == ["fetcher"]  # ends below half of it
    assert subjects(alert, healthy(windows=WindowReading(0, 1, 0)), "fetcher") == []


def test_new_dead_letters_of_a_service_are_a_condition_and_old_ones_are_not() -> None:
    letters = {"cleaner": DeadLetterReading(40, 10, "InvalidEvent"), "loader": DeadLetterReading(40, 9, "InvalidEvent")}

    assert subjects(rule("dead-letters"), healthy(dead_letters=letters)) == ["cleaner"]


@pytest.mark.parametrize(("behind_by", "expected"), [(None, []), (-0.01, []), (0.01, ["m1/card"])])
def test_a_model_is_behind_if_the_whole_interval_is_above_zero(behind_by: float | None, expected: list[str]) -> None:
    model = ModelReading("m1", "card", 200, 1.8, 1.7, behind_by)

    assert subjects(rule("model-behind"), healthy(models=(model,))) == expected


def test_an_audit_with_findings_is_critical_and_an_old_one_is_overdue() -> None:
    alert = rule("audit-missing")
    clean, old = {"missing": 0, "twice": 0}, NOON - timedelta(hours=27)

    assert subjects(alert, healthy(audit=AuditReading(NOON, clean))) == []
    assert subjects(alert, healthy(audit=AuditReading(NOON, {"missing": 2, "twice": 0}))) == ["findings"]
    assert subjects(alert, healthy(audit=AuditReading(old, clean))) == ["overdue"]
    assert subjects(alert, healthy(audit=AuditReading(old, {"missing": 2}))) == ["findings", "overdue"]


def test_a_quality_report_with_broken_thresholds_is_an_alert_until_one_without_them() -> None:
    alert = rule("quality")
    good = QualityReading(NOON, "2031-05-01 to 2031-05-03", {"days": 0, "outcomes": 0}, ())
    poor = replace(good, broken={"days": 2, "outcomes": 0}, findings=("days without events: 2",))

    assert subjects(alert, healthy(quality=None)) == []
    assert subjects(alert, healthy(quality=good)) == []
    assert subjects(alert, healthy(quality=poor)) == ["thresholds"]
    assert subjects(rule("quality", threshold=2), healthy(quality=poor)) == []


def test_without_any_audit_none_is_overdue() -> None:
    assert subjects(rule("audit-missing"), healthy(audit=None)) == []


def test_a_token_that_discord_refuses_is_a_condition() -> None:
    assert subjects(rule("bot-token"), healthy(bot_token=BotToken(True, "", NOON))) == []
    assert subjects(rule("bot-token"), healthy(bot_token=BotToken(False, "HTTP 401", NOON))) == ["discord"]


@pytest.mark.parametrize(
    ("kind", "subject", "service"),
    [
        ("windows-failed", "fetcher", "fetcher"),
        ("window-changed", "river/results/2031-05-04", "fetcher"),
        ("model-behind", "m1/card", "predictor"),
        ("partition-held", "cleaner/raw-events", "cleaner"),
        ("lag-growing", "cleaner/raw-events", "cleaner"),
    ],
)
def test_what_a_stopped_service_reported_is_not_known(kind: PipelineKind, subject: str, service: str) -> None:
    assert is_known(kind, subject, healthy())
    assert not is_known(kind, subject, without(service))
