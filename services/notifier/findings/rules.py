"""Decides what is worth a notification: finds candidates in a batch, then applies the rules to the rows behind them.

A rule about a settled event is a function that `result_findings` calls. Its finding is a class in finding.py, part of
the union `Finding`; `finding_id` derives its id, and texts/message.py renders it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from pydantic import Field

from services.notifier.findings import finding as findings
from shared.errors import InvalidEvent
from shared.events import Frozen, LoadedEvent, Prediction, day_of
from shared.records import LIVE, DecodedRecord

FINAL_STATUSES = frozenset({"settled", "void", "cancelled", "postponed"})


class Rules(Frozen):
    """The thresholds of every rule. settings.py declares those that an operator can set; __main__.py passes them on."""

    silent_after_s: float = Field(
        default=24 * 3600,
        gt=0,
        description="records known, or events scheduled, longer ago are history and never notified",
    )
    tip_probability: float = Field(default=0.75, gt=0, le=1, description="lowest win probability of a tip")
    tip_states: tuple[Literal["card", "observation"], ...] = Field(
        default=("card", "observation"), description="states of knowledge from which a tip may come"
    )
    payout_market: str = Field(
        default="trifecta", description="market of big payouts and of the highest payouts of a day"
    )
    payout_amount: int = Field(default=50_000, gt=0, description="lowest big payout per 100 staked")
    best_grade: int = Field(
        default=2, ge=0, description="grades up to this number are notified: 1 is SG, 2 is G1; 0: none"
    )
    final_number: int = Field(default=12, ge=1, description="number of a session's last event")
    surprise_probability: float = Field(
        default=0.05, ge=0, lt=1, description="a winner with a lower win probability is a surprise"
    )
    daily_best: int = Field(default=3, ge=0, description="number of highest payouts in the daily summary")


@dataclass
class Candidates:
    """Possible findings of a batch, by key, in order of arrival and without duplicates. The rows read later decide."""

    tip_predictions: dict[str, list[Prediction]] = field(default_factory=dict)
    settled_events: dict[str, None] = field(default_factory=dict)
    cancelled_sessions: dict[str, None] = field(default_factory=dict)
    ended_days: dict[tuple[str, date], None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tip_predictions or self.settled_events or self.cancelled_sessions or self.ended_days)

    @property
    def event_keys(self) -> list[str]:
        return list({**dict.fromkeys(self.tip_predictions), **self.settled_events})


def find_candidates(
    batch: Sequence[DecodedRecord], now: datetime, rules: Rules, announced_revisions: Collection[str] = frozenset()
) -> Candidates:
    """The candidates of a batch. Replays, shadow predictions and history are dropped before any row is read.

    `announced_revisions`: revisions of replays that are to be notified all the same.
    Raises InvalidEvent for a message that is neither a prediction nor a loaded event.
    """
    result = Candidates()
    oldest = now - timedelta(seconds=rules.silent_after_s)
    for received in batch:
        message = received.message
        if received.revision != LIVE and received.revision not in announced_revisions:
            continue
        if isinstance(message, LoadedEvent):
            if not is_history(message.known_at, message.scheduled_at, oldest):
                _collect_loaded(message, result)
        elif isinstance(message, Prediction):
            if not is_history(message.as_of, message.scheduled_at, oldest) and is_tip_candidate(message, now, rules):
                result.tip_predictions.setdefault(message.event_key, []).append(message)
        else:
            raise InvalidEvent(f"expected a prediction or a loaded event, got {type(message).__name__}")
    return result


def is_history(known_at: datetime, scheduled_at: datetime | None, oldest: datetime) -> bool:
    """Whether the record became known, or its event was scheduled, before `oldest`."""
    return known_at < oldest or (scheduled_at is not None and scheduled_at < oldest)


def is_tip_candidate(prediction: Prediction, now: datetime, rules: Rules) -> bool:
    """Whether the prediction may be a tip. An event without a known start may have started, so it is none."""
    if prediction.shadow or prediction.state not in rules.tip_states:
        return False
    if prediction.scheduled_at is None or prediction.scheduled_at <= now:
        return False
    favourite = favourite_of(prediction)
    return favourite is not None and favourite[1] >= rules.tip_probability


def favourite_of(prediction: Prediction) -> tuple[int, float] | None:
    """The slot with the highest probability of winning, and that probability."""
    wins = [(p.slot, p.probability) for p in prediction.probabilities if p.head == "result" and p.slot is not None]
    return max(wins, key=lambda win: win[1], default=None)


def tip_findings(predictions: Sequence[Prediction], event: findings.EventDetails) -> list[findings.Finding]:
    """The tips of the candidates; none if the event has ended meanwhile."""
    if event.status in FINAL_STATUSES:
        return []
    return [
        findings.Tip(event, slot, probability, prediction.model_version, prediction.state)
        for prediction in predictions
        if (favourite := favourite_of(prediction)) is not None
        for slot, probability in [favourite]
    ]


def result_findings(event: findings.EventDetails, rules: Rules) -> list[findings.Finding]:
    """The findings of an event; none unless its status is `settled`."""
    if event.status != "settled":
        return []
    candidates = (big_payout(event, rules), grade_result(event, rules), surprise(event, rules))
    return [finding for finding in candidates if finding is not None]


def big_payout(event: findings.EventDetails, rules: Rules) -> findings.BigPayout | None:
    """The highest payout, if it is big enough. After a dead heat there are several."""
    best = max(event.payouts, key=lambda payout: payout.amount, default=findings.Payout("", 0))
    return findings.BigPayout(event, rules.payout_market, best) if best.amount >= rules.payout_amount else None


def grade_result(event: findings.EventDetails, rules: Rules) -> findings.GradeResult | None:
    grade = event.session.grade
    is_final = grade is not None and grade <= rules.best_grade and event.number == rules.final_number and event.places
    return findings.GradeResult(event) if is_final else None


def surprise(event: findings.EventDetails, rules: Rules) -> findings.Surprise | None:
    winner = event.winner
    probability = event.win_probabilities.get(winner) if winner is not None else None
    if winner is None or probability is None or probability >= rules.surprise_probability:
        return None
    return findings.Surprise(event, winner, probability)


def called_off_findings(session: findings.SessionDetails) -> list[findings.Finding]:
    return [findings.CalledOff(session)] if session.called_off_numbers else []


def is_day_complete(statuses: Mapping[str, int]) -> bool:
    """Whether all events of a day have ended; `statuses` is their number by status."""
    return bool(statuses) and statuses.keys() <= FINAL_STATUSES


def _collect_loaded(message: LoadedEvent, result: Candidates) -> None:
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
