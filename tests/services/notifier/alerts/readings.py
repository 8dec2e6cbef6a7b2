"""Readings of a pipeline that works, and of what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.notifier.alerts.alert_rules import AlertRule, alert_rule, alert_rules_of
from services.notifier.alerts.evaluator import AlertEvaluator, IncidentChanges
from services.notifier.alerts.reading import PipelineReading, ReplicaReading, TopicBacklog, WindowReading
from services.notifier.alerts.timers import IncidentKey
from services.notifier.kinds import PipelineKind
from services.notifier.rules.file import read_rules
from services.notifier.rules.rule_book import RuleBook
from shared.topics import READS, SERVICES, WRITES

NOON = datetime(2031, 5, 4, 12, 0, tzinfo=UTC)
STEP_S = 5.0
ALL_TOPICS = frozenset((service, topic) for service in SERVICES for topic in READS[service] or WRITES[service])


def replica(service: str, **changes: Any) -> ReplicaReading:
    values = {"service": service, "replica": f"{service}-0", "state": "running", "is_live": True, "is_ready": True}
    return ReplicaReading(**{**values, "reason": "", "heartbeat_at": NOON, **changes})


def healthy(**changes: Any) -> PipelineReading:
    """All services run, nothing waits."""
    values: dict[str, Any] = {
        "at": NOON,
        "replicas": tuple(replica(service) for service in SERVICES),
        "backlogs": {(service, topic): TopicBacklog(0, 0.0) for service in SERVICES for topic in READS[service]},
        "windows": WindowReading(0, 0, 0),
        "changes": (),
        "models": (),
    }
    return PipelineReading(**{**values, **changes})


def without(service: str, **changes: Any) -> PipelineReading:
    """No live replica of the service, and nothing that it reports."""
    reading = healthy(**changes)
    return replace(
        reading,
        replicas=tuple(each for each in reading.replicas if each.service != service),
        backlogs={stage: each for stage, each in reading.backlogs.items() if stage[0] != service},
        windows=None if service == "fetcher" else reading.windows,
        changes=None if service == "fetcher" else reading.changes,
        models=None if service == "predictor" else reading.models,
    )


def with_backlog(stage: tuple[str, str], records: int, oldest_s: float = 120.0, **changes: Any) -> PipelineReading:
    backlogs = {**healthy().backlogs, stage: TopicBacklog(records, oldest_s)}
    return healthy(**{"backlogs": backlogs, **changes})


def rule(
    kind: PipelineKind,
    name: str | None = None,
    addresses: Sequence[str] = ("console",),
    for_s: float | None = None,
    threshold: float | None = None,
) -> AlertRule:
    return alert_rule(name or kind, kind, addresses, for_s, threshold)


class Run:
    """Passes readings 5 s apart to an evaluator, and keeps the open incidents as the table does."""

    def __init__(self, *rules: AlertRule, clear_s: float = 120.0) -> None:
        self.at = NOON
        self.rules = rules
        self.open: dict[IncidentKey, PipelineKind] = {}
        self.opened: list[str] = []
        self.resolved: list[str] = []
        self._clear_s = clear_s
        self._evaluator = AlertEvaluator(clear_s)

    def restart(self) -> None:
        """Another process continues with the same table."""
        self._evaluator = AlertEvaluator(self._clear_s)

    def step(self, reading: PipelineReading, after_s: float = STEP_S) -> IncidentChanges:
        self.at += timedelta(seconds=after_s)
        changes = self._evaluator.evaluate(replace(reading, at=self.at), self.rules, self.open)
        for key, condition in changes.opening.items():
            self.open[key] = condition.kind
            self.opened.append(key.subject)
        for key in changes.ending:
            del self.open[key]
            self.resolved.append(key.subject)
        return changes

    def last(self, reading: PipelineReading, seconds: float) -> None:
        """The same reading for `seconds`."""
        self.follow([reading] * round(seconds / STEP_S))

    def follow(self, readings: Iterable[PipelineReading]) -> None:
        for reading in readings:
            self.step(reading)


def detail_of(changes: IncidentChanges) -> Mapping[str, Any]:
    (condition,) = changes.opening.values()
    return condition.detail


def default_rules(addresses: Sequence[str]) -> tuple[AlertRule, ...]:
    """The alerts of the shipped rule file."""
    return alert_rules_of(RuleBook(read_rules(None).parse()), addresses)
