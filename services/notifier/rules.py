"""What is worth telling: first what a batch could give without asking anybody, then the rules over the rows read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from pydantic import Field

from services.notifier import findings
from shared.errors import InvalidEvent
from shared.events import Frozen, LoadedEvent, Prediction, day_of
from shared.records import LIVE, Received

ENDED = frozenset({"settled", "void", "cancelled", "postponed"})


class Rules(Frozen):
    """The thresholds of every rule."""

    silent_after_s: float = Field(
        default=24 * 3600, gt=0, description="what was known, or was to start, longer ago is history: never told"
    )
    tip_probability: float = Field(default=0.75, gt=0, le=1, description="tell a favourite from this probability on")
    tip_states: tuple[Literal["card", "observation"], ...] = Field(
        default=("card", "observation"), description="the states of knowledge a tip may come from"
    )
    payout_market: str = Field(default="trifecta", description="the market of big payouts and of the daily best ones")
    payout_amount: int = Field(default=50_000, gt=0, description="per 100 staked: 500 times the stake")
    best_grade: int = Field(default=2, ge=0, description="grades up to this number are told: 1 is SG, 2 is G1; 0: none")
    final_number: int = Field(default=12, ge=1, description="the number of a session's last event")
    surprise_probability: float = Field(default=0.05, ge=0, lt=1, description="a winner with less than this surprises")
    daily_best: int = Field(default=3, ge=0, description="how many of the day's highest payouts the summary names")


@dataclass
class Candidates:
    """What of a batch may be worth telling, by key: the rows behind it decide. Ordered, each once."""

    tips: dict[str, list[Prediction]] = field(default_factory=dict)
    settled: dict[str, None] = field(default_factory=dict)
    cancelled: dict[str, None] = field(default_factory=dict)
    days: dict[tuple[str, date], None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tips or self.settled or self.cancelled or self.days)

    @property
    def event_keys(self) -> list[str]:
        return list({**dict.fromkeys(self.tips), **self.settled})


def candidates(
    batch: Sequence[Received], now: datetime, rules: Rules, told: Collection[str] = frozenset()
) -> Candidates:
    """Sift a batch; what is a replay, a shadow or history is out before anything is looked up.

    `told`: the revisions of replays that are to be told nonetheless.
    Raises InvalidEvent for a message of a topic the notifier does not read.
    """
    found = Candidates()
    oldest = now - timedelta(seconds=rules.silent_after_s)
    for received in batch:
        message = received.message
        if received.revision != LIVE and received.revision not in told:
            continue
        if isinstance(message, LoadedEvent):
            if not is_history(message.known_at, message.scheduled_at, oldest):
                _sift_loaded(message, found)
        elif isinstance(message, Prediction):
            if not is_history(message.as_of, message.scheduled_at, oldest) and may_be_tip(message, now, rules):
                found.tips.setdefault(message.event_key, []).append(message)
        else:
            raise InvalidEvent(f"expected a prediction or a loaded event, got {type(message).__name__}")
    return found


def is_history(known_at: datetime, scheduled_at: datetime | None, oldest: datetime) -> bool:
    return known_at < oldest or (scheduled_at is not None and scheduled_at < oldest)


def may_be_tip(prediction: Prediction, now: datetime, rules: Rules) -> bool:
    """An event without a known start may have started: it gives no tip."""
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


def tips(predictions: Sequence[Prediction], event: findings.EventFacts) -> list[findings.Finding]:
    """The predictions are candidates already. An event that meanwhile ended gives none."""
    if event.status in ENDED:
        return []
    return [
        findings.Tip(event, slot, probability, prediction.model_version, prediction.state)
        for prediction in predictions
        if (favourite := favourite_of(prediction)) is not None
        for slot, probability in [favourite]
    ]


def results(event: findings.EventFacts, rules: Rules) -> list[findings.Finding]:
    """What a settled event gives; nothing while its status, as read, is another one."""
    if event.status != "settled":
        return []
    found = (big_payout(event, rules), grade_result(event, rules), surprise(event, rules))
    return [finding for finding in found if finding is not None]


def big_payout(event: findings.EventFacts, rules: Rules) -> findings.BigPayout | None:
    """After a dead heat there are several: the highest one counts."""
    best = max(event.payouts, key=lambda payout: payout.amount, default=findings.Payout("", 0))
    return findings.BigPayout(event, rules.payout_market, best) if best.amount >= rules.payout_amount else None


def grade_result(event: findings.EventFacts, rules: Rules) -> findings.GradeResult | None:
    grade = event.session.grade
    told = grade is not None and grade <= rules.best_grade and event.number == rules.final_number and event.placed
    return findings.GradeResult(event) if told else None


def surprise(event: findings.EventFacts, rules: Rules) -> findings.Surprise | None:
    winner = event.winner
    probability = event.predicted.get(winner) if winner is not None else None
    if winner is None or probability is None or probability >= rules.surprise_probability:
        return None
    return findings.Surprise(event, winner, probability)


def called_off(session: findings.SessionFacts) -> list[findings.Finding]:
    return [findings.CalledOff(session)] if session.called_off else []


def is_over(statuses: Mapping[str, int]) -> bool:
    """Whether a day with so many events of each status has nothing left to wait for."""
    return bool(statuses) and statuses.keys() <= ENDED


def _sift_loaded(message: LoadedEvent, found: Candidates) -> None:
    if message.kind != "settled":
        return
    if message.status == "settled":
        found.settled[message.event_key] = None
    elif message.status == "cancelled":
        # A session key is its events' key without the number.
        found.cancelled[message.event_key.rpartition(":")[0]] = None
    day = day_of(message.event_key)
    if day is not None and message.status in ENDED:
        found.days[message.source, day] = None
