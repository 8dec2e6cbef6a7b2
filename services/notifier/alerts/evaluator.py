"""Decides after each reading which incidents open, continue and end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notifier.alerts.alert_rules import AlertRule
from services.notifier.alerts.backlog_history import BacklogHistory
from services.notifier.alerts.conditions import Condition, conditions_of, is_known
from services.notifier.alerts.reading import PipelineReading
from services.notifier.alerts.timers import ConditionTimers, IncidentKey
from services.notifier.kinds import PipelineKind

# An incident ends when its condition has been absent for this long, so that a short recovery does not end it.
CLEAR_S = 60.0
# These conditions end by an action of a person, and not now and then by themselves.
DEFINITE_KINDS: frozenset[PipelineKind] = frozenset({"partition-held", "window-changed", "audit-missing", "bot-token"})
DEFINITE_CLEAR_S = 10.0
# Readings are 5 s apart. After a longer gap nothing is known about the time between.
MAX_GAP_S = 30.0


class IncidentChanges(NamedTuple):
    """What to store after a reading."""

    opening: Mapping[IncidentKey, Condition]
    continuing: Mapping[IncidentKey, Condition]
    ending: Sequence[IncidentKey]


class AlertEvaluator:
    """Each evaluator measures durations itself: after its start, or after a gap between readings, they begin at 0.

    A second evaluator on the same incidents does no harm: what opens is decided by the condition now.
    """

    def __init__(self, clear_s: float = CLEAR_S) -> None:
        self._clear_s = clear_s
        self._timers = ConditionTimers()
        self._history = BacklogHistory()
        self._at: datetime | None = None

    def evaluate(
        self, reading: PipelineReading, rules: Sequence[AlertRule], open_incidents: Mapping[IncidentKey, PipelineKind]
    ) -> IncidentChanges:
        """`open_incidents`: the kind of each open incident. One whose rule no longer exists ends too."""
        if self._at is not None and (reading.at - self._at).total_seconds() > MAX_GAP_S:
            self._timers.clear()
            self._history.clear()
        self._at = reading.at
        self._history.add(reading)
        by_name = {rule.name: rule for rule in rules}
        true = {
            IncidentKey(rule.name, condition.subject): condition
            for rule in rules
            for condition in conditions_of(rule, reading, self._history, _subjects(open_incidents, rule))
        }

        def known(key: IncidentKey) -> bool:
            rule = by_name.get(key.rule)
            return rule is None or is_known(rule.kind, key.subject, reading)

        self._timers.observe(reading.at, true, open_incidents, known)
        new = {key: condition for key, condition in true.items() if key not in open_incidents}
        return IncidentChanges(
            {key: each for key, each in new.items() if self._timers.has_been_true(key, _hold_s(by_name[key.rule]))},
            {key: condition for key, condition in true.items() if key in open_incidents},
            [
                key
                for key, kind in open_incidents.items()
                if self._timers.has_been_absent(key, self._clear_after_s(kind))
            ],
        )

    def _clear_after_s(self, kind: PipelineKind) -> float:
        return min(self._clear_s, DEFINITE_CLEAR_S) if kind in DEFINITE_KINDS else self._clear_s


def _hold_s(rule: AlertRule) -> float:
    """The backlog of `lag-growing` is already compared with the one `for_s` ago."""
    return 0.0 if rule.kind == "lag-growing" else rule.for_s


def _subjects(open_incidents: Mapping[IncidentKey, PipelineKind], rule: AlertRule) -> set[str]:
    return {key.subject for key in open_incidents if key.rule == rule.name}
