"""Decides from one reading of the pipeline which conditions of a rule are true now. timers.py adds the durations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from services.notifier.alerts.alert_rules import AlertRule
from services.notifier.alerts.backlog_history import BacklogHistory, is_expected, is_old
from services.notifier.alerts.changed_windows import changes_by_subject
from services.notifier.alerts.reading import PipelineReading, TrippedPartition
from services.notifier.kinds import PipelineKind
from shared.topics import READS, SERVICES, WRITES

Severity = Literal["critical", "warning"]
# A partition that is held back has an alert of its own.
TRIPPED = "tripped"
# An alert that counts something ends when the count is below this share of its threshold, so that it does not flap.
END_SHARE = 0.5
MAX_EXAMPLES = 5
FINDINGS, OVERDUE = "findings", "overdue"


class Condition(NamedTuple):
    """Something that is wrong with a subject. `detail` is JSON: values for the text of the message."""

    kind: PipelineKind
    subject: str
    severity: Severity
    detail: Mapping[str, Any]


def conditions_of(
    rule: AlertRule, reading: PipelineReading, history: BacklogHistory, open_subjects: Collection[str] = ()
) -> list[Condition]:
    """The conditions of the rule that are true now, by subject. `open_subjects`: those of its open incidents."""

    def reached(condition: Condition, count: float) -> bool:
        share = END_SHARE if condition.subject in open_subjects else 1
        return count > 0 and count >= rule.threshold * share

    conditions: Iterable[Condition]
    match rule.kind:
        case "stage-down":
            conditions = _stages_down(rule, reading)
        case "partition-held":
            conditions = (each for each in _partitions_held(reading) if reached(each, len(each.detail["partitions"])))
        case "lag-growing":
            conditions = _lags_growing(rule, reading, history, open_subjects)
        case "windows-failed":
            conditions = (
                each
                for each in _windows_failed(reading)
                if reached(each, each.detail["failed"] + each.detail["suspect"])
            )
        case "window-changed":
            conditions = _windows_changed(rule, reading, open_subjects)
        case "dead-letters":
            conditions = (each for each in _dead_letters(reading) if reached(each, each.detail["new"]))
        case "model-behind":
            conditions = _models_behind(rule, reading)
        case "audit-missing":
            conditions = _audit(rule, reading)
        case "quality":
            conditions = (each for each in _quality(reading) if reached(each, len(each.detail["broken"])))
        case "bot-token":
            conditions = _bot_token(reading)
    return list(conditions)


def is_known(kind: PipelineKind, subject: str, reading: PipelineReading) -> bool:
    """Whether the reading tells if the condition is true. A service that does not run reports nothing."""
    match kind:
        case "windows-failed":
            return reading.windows is not None
        case "window-changed":
            return reading.changes is not None
        case "model-behind":
            return reading.models is not None
        case "partition-held":
            return bool(reading.live(subject.partition("/")[0]))
        case "lag-growing":
            service, _, topic = subject.partition("/")
            return (service, topic) in reading.backlogs
        case _:
            return True


def _stages_down(rule: AlertRule, reading: PipelineReading) -> Iterable[Condition]:
    for service in SERVICES:
        if all((service, topic) in reading.paused for topic in READS[service] or WRITES[service]):
            continue
        live = reading.live(service)
        working = [each for each in live if each.is_ready or each.state == TRIPPED]
        if len(working) >= rule.threshold:
            continue
        waiting = [each for each in live if each not in working]
        last = [each for each in reading.replicas if each.service == service and not each.is_live]
        reasons = [f"{each.replica}: {each.reason or each.state}" for each in waiting or last]
        heartbeats = [each.heartbeat_at for each in reading.replicas if each.service == service]
        yield Condition(
            "stage-down",
            service,
            "critical",
            {
                "replicas": len(working),
                "needed": int(rule.threshold),
                "not_ready": len(waiting),
                "reasons": reasons[:MAX_EXAMPLES],
                "heartbeat_at": max(heartbeats).isoformat() if heartbeats else None,
            },
        )


def _partitions_held(reading: PipelineReading) -> Iterable[Condition]:
    by_topic: dict[tuple[str, str], list[TrippedPartition]] = {}
    for held in reading.held:
        by_topic.setdefault((held.service, held.topic), []).append(held)
    for (service, topic), each in sorted(by_topic.items()):
        detail = {
            "service": service,
            "topic": topic,
            "partitions": sorted({held.partition for held in each}),
            "cause": next((held.cause for held in each if held.cause), ""),
        }
        yield Condition("partition-held", f"{service}/{topic}", "critical", detail)


def _lags_growing(
    rule: AlertRule, reading: PipelineReading, history: BacklogHistory, open_subjects: Collection[str]
) -> Iterable[Condition]:
    for stage, backlog in sorted(reading.backlogs.items()):
        subject = "/".join(stage)
        if subject in open_subjects:
            lasts = backlog.records >= rule.threshold * END_SHARE and is_old(reading, stage)
            is_true = lasts and not is_expected(reading, stage)
        else:
            is_true = history.is_stuck(reading, stage, rule.for_s, rule.threshold)
        if is_true:
            service, topic = stage
            detail = {"service": service, "topic": topic, "records": backlog.records, "oldest_s": backlog.oldest_s}
            yield Condition("lag-growing", subject, "warning", detail)


def _windows_failed(reading: PipelineReading) -> Iterable[Condition]:
    if (windows := reading.windows) is not None:
        detail = {
            "failed": windows.failed,
            "suspect": windows.suspect,
            "examples": list(windows.examples[:MAX_EXAMPLES]),
        }
        yield Condition("windows-failed", "fetcher", "warning", detail)


def _windows_changed(rule: AlertRule, reading: PipelineReading, open_subjects: Collection[str]) -> Iterable[Condition]:
    for subject, changes in changes_by_subject(reading, rule.name, rule.threshold, open_subjects).items():
        (first, *more) = changes
        examples = [f"{each.window}: {each.events:,} events" for each in changes] if more else first.lines
        detail = {
            "windows": [each.window for each in changes],
            "events": sum(each.events for each in changes),
            "newest_at": max(each.at for each in changes).isoformat(),
            "examples": list(examples[:MAX_EXAMPLES]),
        }
        yield Condition("window-changed", subject, "warning", detail)


def _dead_letters(reading: PipelineReading) -> Iterable[Condition]:
    for service, letters in sorted(reading.dead_letters.items()):
        detail = {"new": letters.new, "open": letters.open, "cause": letters.cause}
        yield Condition("dead-letters", service, "warning", detail)


def _models_behind(rule: AlertRule, reading: PipelineReading) -> Iterable[Condition]:
    for model in reading.models or ():
        if model.behind_by is not None and model.behind_by > rule.threshold:
            detail = {
                "model": model.model,
                "state": model.state,
                "events": model.events,
                "log_loss": model.log_loss,
                "base_log_loss": model.base_log_loss,
            }
            yield Condition("model-behind", f"{model.model}/{model.state}", "warning", detail)


def _audit(rule: AlertRule, reading: PipelineReading) -> Iterable[Condition]:
    """An installation without any audit has no alert: it was never said that there should be one."""
    if (audit := reading.audit) is None:
        return
    findings = {kind: count for kind, count in sorted(audit.findings.items()) if count > 0}
    if findings:
        yield Condition("audit-missing", FINDINGS, "critical", {"findings": findings, "audit_at": audit.at.isoformat()})
    if reading.at - audit.at > timedelta(hours=rule.threshold):
        yield Condition("audit-missing", OVERDUE, "warning", {"audit_at": audit.at.isoformat()})


def _quality(reading: PipelineReading) -> Iterable[Condition]:
    if (quality := reading.quality) is None:
        return
    broken = {name: count for name, count in sorted(quality.broken.items()) if count > 0}
    detail = {"broken": broken, "examples": list(quality.findings[:MAX_EXAMPLES]), "days": quality.days}
    yield Condition("quality", "thresholds", "warning", {**detail, "report_at": quality.at.isoformat()})


def _bot_token(reading: PipelineReading) -> Iterable[Condition]:
    token = reading.bot_token
    if token is not None and not token.is_accepted:
        detail = {"reason": token.reason, "changed_at": token.changed_at.isoformat()}
        yield Condition("bot-token", "discord", "critical", detail)
