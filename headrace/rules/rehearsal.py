"""Derives what the notifier would have recorded by a rule book, from the history of some days.

Each fact and each prediction counts at the time from which it could be known. A correction is applied at its own time,
so that it causes the notifications that it caused live.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from math import log
from typing import NamedTuple
from uuid import UUID

from headrace.rules.history import DayHistory
from services.loader.fold import fold
from services.notifier.findings.digest import DayRows, digest_of
from services.notifier.findings.finding import Daily, EventDetails, Finding, Payout, finding_id, subject_of
from services.notifier.findings.rules import (
    DAILY_BEST,
    SelectedFinding,
    called_off_findings,
    daily_rules,
    event_findings,
    is_before_start,
    is_day_complete,
    markets_of,
)
from services.notifier.findings.variables import variables_of
from services.notifier.rules.rule_book import RuleBook
from shared.events import Prediction, Settled

# As in the view analytics.prediction_scores.
MIN_PROBABILITY = 1e-15
ReadDay = Callable[[str, date, Sequence[str]], DayRows]
"""Reads the rows of a source's day, with the payouts of some markets."""


class RehearsedNotification(NamedTuple):
    """A notification that the notifier would have recorded at `recorded_at`."""

    recorded_at: datetime
    record_id: UUID
    rule: str
    subject: str
    text: str


def rehearse(history: DayHistory, book: RuleBook, read_day: ReadDay) -> list[RehearsedNotification]:
    """What would have been recorded, in the order of time. A rule has each finding once."""
    notifications: dict[tuple[UUID, str], RehearsedNotification] = {}
    for at, (rule, finding) in _Rehearsal(history, book, read_day).findings():
        key = finding_id(finding), rule
        if key not in notifications:
            text = book.text_of(rule, finding.kind, variables_of(finding)).text
            notifications[key] = RehearsedNotification(at, *key, subject_of(finding), text)
    return list(notifications.values())


class _Rehearsal:
    """The state of the events at one time after the other."""

    def __init__(self, history: DayHistory, book: RuleBook, read_day: ReadDay) -> None:
        self._history = history
        self._book = book
        self._read_day = read_day
        self._events = {key: _unsettled(event) for key, event in history.events.items()}
        self._sessions: dict[str, list[str]] = defaultdict(list)
        self._days: dict[tuple[str, date], list[str]] = defaultdict(list)
        for key, event in history.events.items():
            self._sessions[event.session.session_key].append(key)
            self._days[event.source, event.session.day].append(key)

    def findings(self) -> Iterator[tuple[datetime, SelectedFinding]]:
        """Everything that the rules select, with its time; repeated if the result behind it is."""
        changes: dict[datetime, set[str]] = defaultdict(set)
        for key, versions in self._history.results.items():
            for version in versions:
                changes[version.known_at].add(key)
        predictions: dict[datetime, list[Prediction]] = defaultdict(list)
        for prediction in self._history.predictions:
            predictions[prediction.as_of].append(prediction)
        for at in sorted(changes.keys() | predictions.keys()):
            keys = sorted(changes[at])
            for key in keys:
                self._events[key] = self._as_of(key, at)
            selected = (*self._tips(predictions[at], at), *self._results(keys), *self._summaries(keys))
            yield from ((at, each) for each in selected)

    def _as_of(self, key: str, at: datetime) -> EventDetails:
        """The event by the versions of its result that were known at that time."""
        fact = fold(version for version in self._history.results[key] if version.known_at <= at).fact
        if not isinstance(fact, Settled):
            raise TypeError(f"expected the result of {key}, got {fact.kind}")
        places = sorted((each.place, each.slot) for each in fact.outcomes if each.place is not None)
        paid = sorted(fact.transactions, key=lambda each: (each.ordinal, each.market))
        payouts = tuple(Payout(each.selection, each.amount, each.market) for each in paid)
        return replace(self._history.events[key], status=fact.status, places=tuple(places), payouts=payouts)

    def _tips(self, predictions: Sequence[Prediction], at: datetime) -> Iterator[SelectedFinding]:
        for prediction in predictions:
            if is_before_start(prediction, at):
                yield from event_findings(self._events[prediction.event_key], [prediction], False, self._book)

    def _results(self, keys: Sequence[str]) -> Iterator[SelectedFinding]:
        for key in keys:
            yield from event_findings(self._events[key], [], True, self._book)

    def _summaries(self, keys: Sequence[str]) -> Iterator[SelectedFinding]:
        events = [self._events[key] for key in keys]
        cancelled = sorted({each.session.session_key for each in events if each.status == "cancelled"})
        for session_key in cancelled:
            yield from self._called_off(session_key)
        for source, day in sorted({(each.source, each.session.day) for each in events}):
            yield from self._daily(source, day)

    def _called_off(self, session_key: str) -> Iterator[SelectedFinding]:
        events = [self._events[key] for key in self._sessions[session_key]]
        numbers = tuple(sorted(event.number for event in events if event.status == "cancelled"))
        session = replace(events[0].session, events=len(events), called_off_numbers=numbers)
        for rule in self._book.rules_of("called-off"):
            yield from (SelectedFinding(rule.name, finding) for finding in called_off_findings(session, rule))

    def _daily(self, source: str, day: date) -> Iterator[SelectedFinding]:
        events = {key: self._events[key] for key in self._days[source, day]}
        statuses = Counter(event.status for event in events.values())
        if not is_day_complete(statuses):
            return
        for rule in daily_rules(source, self._book):
            markets = markets_of(rule.rule)
            rows = _with_results(self._read_day(source, day, markets), statuses, events, markets)
            finding: Finding = Daily(digest_of(source, day, rows, DAILY_BEST))
            yield SelectedFinding(rule.name, finding)


def _unsettled(event: EventDetails) -> EventDetails:
    return replace(event, status="listed", places=(), payouts=())


def _with_results(
    rows: DayRows, statuses: Mapping[str, int], events: Mapping[str, EventDetails], markets: Sequence[str]
) -> DayRows:
    """The rows with the results that were known at the time of `events`."""
    settled = {key: event for key, event in events.items() if event.status == "settled"}
    payouts = [
        (f"{event.session.venue_name or f'venue {event.session.venue}'} {event.number}", payout)
        for event in settled.values()
        for payout in event.payouts
        if payout.market in markets
    ]
    winners = {key: event.winner for key, event in settled.items() if event.winner is not None}
    log_losses = {
        key: -log(max(settled[key].win_probabilities[winner], MIN_PROBABILITY))
        for key, winner in winners.items()
        if winner in settled[key].win_probabilities
    }
    return replace(rows, statuses=dict(statuses), payouts=payouts, winners=winners, log_losses=log_losses)
