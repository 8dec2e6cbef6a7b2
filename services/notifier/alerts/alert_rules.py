"""Defines the kinds of alerts about the pipeline, and the rules that decide when an alert opens and who is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from services.notifier.kinds import PipelineKind
from services.notifier.rules.rule_book import NamedRule, RuleBook

HOUR_S = 3_600.0


class AlertDefaults(NamedTuple):
    """`for_s` and `threshold` of a rule that gives none. `unit` of the threshold; empty if the kind has none."""

    for_s: float
    threshold: float
    unit: str


DEFAULTS: Mapping[PipelineKind, AlertDefaults] = MappingProxyType(
    {
        # A restart, also of a predictor that loads its models, takes less than a minute.
        "stage-down": AlertDefaults(180, 1, "replica"),
        "partition-held": AlertDefaults(10, 1, "partition"),
        "lag-growing": AlertDefaults(900, 500, "record"),
        # The fetcher tries a failed window again with delays of up to an hour.
        "windows-failed": AlertDefaults(3 * HOUR_S, 1, "window"),
        # It is no fault, and each change is told.
        "window-changed": AlertDefaults(0, 1, "event"),
        "dead-letters": AlertDefaults(0, 10, "dead letter"),
        "model-behind": AlertDefaults(HOUR_S, 0, "nat"),
        # An audit a night, with two hours to spare.
        "audit-missing": AlertDefaults(0, 26, "hour"),
        "quality": AlertDefaults(0, 1, "broken threshold"),
        "bot-token": AlertDefaults(0, 1, ""),
    }
)
"""The thresholds: live and ready replicas of a stage (an alert opens below it), held partitions of a topic, waiting
records, failed or suspect windows, events that differ in a changed document, new open dead letters in an hour, nats by
which a model is behind, hours since the last audit, broken thresholds of the last quality report."""


class RuleLimits(NamedTuple):
    """What applies to a rule about any kind. None for what its kind does not have; `unit` as in AlertDefaults."""

    threshold: float | None
    for_s: float | None = None
    unit: str = ""

    @property
    def threshold_text(self) -> str | None:
        """The threshold with its unit, such as `500 records`."""
        if self.threshold is None:
            return None
        unit = f" {self.unit}{'' if self.threshold == 1 else 's'}" if self.unit else ""
        return f"{self.threshold:,.10g}{unit}"


@dataclass(frozen=True)
class AlertRule:
    """An alert opens when its condition has been true for `for_s`. `addresses` are the destinations of its messages."""

    name: str
    kind: PipelineKind
    for_s: float
    threshold: float
    addresses: tuple[str, ...]


def alert_rule(
    name: str, kind: PipelineKind, addresses: Sequence[str], for_s: float | None = None, threshold: float | None = None
) -> AlertRule:
    """A rule with the defaults of its kind for what is None."""
    defaults = DEFAULTS[kind]
    return AlertRule(
        name,
        kind,
        defaults.for_s if for_s is None else for_s,
        defaults.threshold if threshold is None else threshold,
        tuple(addresses),
    )


def alert_rules_of(book: RuleBook, default_addresses: Sequence[str]) -> tuple[AlertRule, ...]:
    """The rules of the file about the pipeline. `default_addresses`: of a rule that names no channel."""
    return tuple(
        alert_rule(each.name, kind, book.addresses(each.name, default_addresses), each.rule.for_s, each.rule.threshold)
        for kind in DEFAULTS
        for each in book.rules_of(kind)
    )


def limits_of(named: NamedRule, book: RuleBook) -> RuleLimits:
    """What the rule gives, and the defaults for what it does not give."""
    rule = named.rule
    defaults = next((each for kind, each in DEFAULTS.items() if kind == rule.finding), None)
    if defaults is None:
        return RuleLimits(named.threshold if rule.finding in book.thresholds else None)
    threshold = defaults.threshold if rule.threshold is None else rule.threshold
    for_s = defaults.for_s if rule.for_s is None else rule.for_s
    return RuleLimits(threshold if defaults.unit else None, for_s, defaults.unit)
