"""Decides what is worth a notification: finds candidates in a batch, then applies the rules to the rows behind them.

A kind of finding about a settled event is a function in RESULT_FINDINGS. Its finding is a class in finding.py, part of
the union `Finding`; `finding_id` derives its id, and variables.py gives the values of its templates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from services.notifier.findings import finding as findings
from services.notifier.kinds import EventKind
from services.notifier.rules.model import Rule
from services.notifier.rules.rule_book import NamedRule, RuleBook
from shared.errors import InvalidEvent
from shared.events import LoadedEvent, Prediction, day_of
from shared.records import LIVE, DecodedRecord

FINAL_STATUSES = frozenset({"settled", "void", "cancelled", "postponed"})
# Records known, or events scheduled, longer ago are history and never notified.
SILENT_AFTER = timedelta(days=1)
# The number of a session's last event.
FINAL_NUMBER = 12
# The number of highest payouts in the daily summary.
DAILY_BEST = 3


class SelectedFinding(NamedTuple):
    """A finding and the name of the rule that selects it. Several rules may select the same finding."""

    rule: str
    finding: findings.Finding


@dataclass
class Candidates:
    """Possible findings of a batch, by key, in order of arrival and without duplicates. The rows read later decide.

    `listed_events` have their first card: predictions that waited for it are stored together with it.
    """

    tip_predictions: dict[str, list[Prediction]] = field(default_factory=dict)
    listed_events: dict[str, None] = field(default_factory=dict)
    settled_events: dict[str, None] = field(default_factory=dict)
    cancelled_sessions: dict[str, None] = field(default_factory=dict)
    ended_days: dict[tuple[str, date], None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tip_predictions or self.settled_events or self.cancelled_sessions or self.ended_days)

    @property
    def event_keys(self) -> list[str]:
        return list({**dict.fromkeys(self.tip_predictions), **self.settled_events})


def find_candidates(
    batch: Sequence[DecodedRecord], now: datetime, book: RuleBook, announced_revisions: Collection[str] = frozenset()
) -> Candidates:
    """The candidates of a batch. Replays, shadow predictions and history are dropped before any row is read.

    `announced_revisions`: revisions of replays that are to be notified all the same.
    Raises InvalidEvent for a message that is neither a prediction nor a loaded event.
    """
    result = Candidates()
    predictions = []
    oldest = now - SILENT_AFTER
    for received in batch:
        message = received.message
        if received.revision != LIVE and received.revision not in announced_revisions:
            continue
        if isinstance(message, LoadedEvent):
            if not is_history(message.known_at, message.scheduled_at, oldest):
                _collect_loaded(message, result)
        elif isinstance(message, Prediction):
            predictions.append(message)
        else:
            raise InvalidEvent(f"expected a prediction or a loaded event, got {type(message).__name__}")
    collect_predictions(predictions, now, book, result)
    return result


def collect_predictions(predictions: Iterable[Prediction], now: datetime, book: RuleBook, result: Candidates) -> None:
    """Add the predictions that may be tips: news, made before the start, and worth a tip by a rule."""
    tip_rules, oldest = book.rules_of("tip"), now - SILENT_AFTER
    for prediction in predictions:
        is_new = not is_history(prediction.as_of, prediction.scheduled_at, oldest)
        if is_new and is_before_start(prediction, now) and any(is_tip(prediction, rule) for rule in tip_rules):
            result.tip_predictions.setdefault(prediction.event_key, []).append(prediction)


def is_history(known_at: datetime, scheduled_at: datetime | None, oldest: datetime) -> bool:
    """Whether the record became known, or its event was scheduled, before `oldest`."""
    return known_at < oldest or (scheduled_at is not None and scheduled_at < oldest)


def is_before_start(prediction: Prediction, now: datetime) -> bool:
    """An event without a known start may have started."""
    return prediction.scheduled_at is not None and prediction.scheduled_at > now


def is_tip(prediction: Prediction, rule: NamedRule) -> bool:
    """Whether the prediction is worth a tip by this rule. Shadow predictions never are."""
    if prediction.shadow or (rule.rule.states is not None and prediction.state not in rule.rule.states):
        return False
    favourite = favourite_of(prediction)
    return favourite is not None and favourite[1] >= rule.threshold


def favourite_of(prediction: Prediction) -> tuple[int, float] | None:
    """The slot with the highest probability of winning, and that probability."""
    wins = [(p.slot, p.probability) for p in prediction.probabilities if p.head == "result" and p.slot is not None]
    return max(wins, key=lambda win: win[1], default=None)


def event_findings(
    event: findings.EventDetails, predictions: Sequence[Prediction], is_result_new: bool, book: RuleBook
) -> Iterator[SelectedFinding]:
    """What the rules select of an event: tips from the predictions, and findings of its result if that is new."""
    for rule in book.rules_of("tip"):
        yield from (SelectedFinding(rule.name, tip) for tip in tip_findings(predictions, event, rule))
    if not is_result_new or event.status != "settled":
        return
    for kind, findings_of in RESULT_FINDINGS.items():
        for rule in book.rules_of(kind):
            if passes_filters(event, rule.rule):
                yield from (SelectedFinding(rule.name, finding) for finding in findings_of(event, rule))


def passes_filters(event: findings.EventDetails, rule: Rule) -> bool:
    """Whether the rule's filters let the event pass. `entities`: at least one of them takes part."""
    if rule.entities is not None and event.entities.isdisjoint(rule.entities):
        return False
    return session_passes_filters(event.session, rule)


def session_passes_filters(session: findings.SessionDetails, rule: Rule) -> bool:
    values = ((rule.venues, session.venue), (rule.sources, session.source), (rule.grades, session.grade))
    return all(allowed is None or value in allowed for allowed, value in values)


def tip_findings(
    predictions: Sequence[Prediction], event: findings.EventDetails, rule: NamedRule
) -> list[findings.Finding]:
    """The tips of the candidates by this rule; none if the event has ended meanwhile."""
    if event.status in FINAL_STATUSES or not passes_filters(event, rule.rule):
        return []
    return [
        findings.Tip(event, slot, probability, prediction.model_version, prediction.state)
        for prediction in predictions
        if is_tip(prediction, rule) and (favourite := favourite_of(prediction)) is not None
        for slot, probability in [favourite]
    ]


def big_payouts(event: findings.EventDetails, rule: NamedRule) -> Iterator[findings.Finding]:
    """The highest payout of each market, if it is big enough. After a dead heat a market has several."""
    for market in markets_of(rule.rule):
        payouts = [payout for payout in event.payouts if payout.market == market]
        best = max(payouts, key=lambda payout: payout.amount, default=None)
        if best is not None and best.amount >= rule.threshold:
            yield findings.BigPayout(event, best)


def grade_results(event: findings.EventDetails, rule: NamedRule) -> Iterator[findings.Finding]:
    grade = event.session.grade
    if grade is not None and grade <= rule.threshold and event.number == FINAL_NUMBER and event.places:
        yield findings.GradeResult(event)


def surprises(event: findings.EventDetails, rule: NamedRule) -> Iterator[findings.Finding]:
    winner = event.winner
    probability = event.win_probabilities.get(winner) if winner is not None else None
    if winner is not None and probability is not None and probability < rule.threshold:
        yield findings.Surprise(event, winner, probability)


RESULT_FINDINGS: Mapping[EventKind, Callable[[findings.EventDetails, NamedRule], Iterable[findings.Finding]]] = (
    MappingProxyType({"big-payout": big_payouts, "grade": grade_results, "surprise": surprises})
)
"""The findings of a settled event by kind, in the order in which they are recorded."""


def markets_of(rule: Rule) -> tuple[str, ...]:
    """The markets whose payouts the rule is about."""
    return rule.markets or (findings.DEFAULT_MARKET,)


def event_markets(book: RuleBook) -> list[str]:
    """The markets that any rule about big payouts needs."""
    return sorted({market for rule in book.rules_of("big-payout") for market in markets_of(rule.rule)})


def called_off_findings(session: findings.SessionDetails, rule: NamedRule) -> list[findings.Finding]:
    enough = len(session.called_off_numbers) >= max(1, rule.threshold)
    return [findings.CalledOff(session)] if enough and session_passes_filters(session, rule.rule) else []


def daily_rules(source: str, book: RuleBook) -> list[NamedRule]:
    """The rules that ask for a daily summary of the source."""
    return [rule for rule in book.rules_of("daily") if rule.rule.sources is None or source in rule.rule.sources]


def is_day_complete(statuses: Mapping[str, int]) -> bool:
    """Whether all events of a day have ended; `statuses` is their number by status."""
    return bool(statuses) and statuses.keys() <= FINAL_STATUSES


def _collect_loaded(message: LoadedEvent, result: Candidates) -> None:
    if message.kind == "listed" and message.version == 1:
        result.listed_events[message.event_key] = None
    if message.kind != "settled":
        return
    if message.status == "settled":
        result.settled_events[message.event_key] = None
    elif message.status == "cancelled":
        # A session key is the key of its events without the number.
        result.cancelled_sessions[message.event_key.rpartition(":")[0]] = None
    day = day_of(message.event_key)
    if day is not None and message.status in FINAL_STATUSES:
        result.ended_days[message.source, day] = None
