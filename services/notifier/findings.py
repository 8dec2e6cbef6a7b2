"""What can be told, and what it is told from. The rules are in rules.py, the words in message.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar, NamedTuple
from uuid import UUID, uuid5

from shared.events import NAMESPACE


class Payout(NamedTuple):
    """The settled amount of one selection, in the source's currency per 100 staked."""

    selection: str
    amount: int


@dataclass(frozen=True)
class SessionFacts:
    """A session and which of its events will not take place."""

    session_key: str
    day: date
    venue: int
    venue_name: str | None = None
    title: str | None = None
    grade: int | None = None
    events: int = 0
    called_off: tuple[int, ...] = ()


@dataclass(frozen=True)
class EventFacts:
    """One event as the database shows it. `names` and `predicted` are by slot, `placed` is (place, slot) by place.

    `predicted` is the probability of winning in the last prediction made before the event started.
    """

    event_key: str
    session: SessionFacts
    number: int
    scheduled_at: datetime | None
    status: str
    names: Mapping[int, str] = field(default_factory=dict)
    placed: tuple[tuple[int, int], ...] = ()
    payouts: tuple[Payout, ...] = ()
    predicted: Mapping[int, float] = field(default_factory=dict)

    @property
    def winner(self) -> int | None:
        """The only slot in first place; None while there is none, and for a dead heat."""
        first = [slot for place, slot in self.placed if place == 1]
        return first[0] if len(first) == 1 else None


@dataclass(frozen=True)
class Digest:
    """A source's day in figures. Log-losses are means in nats over the same `scored` events; None without any."""

    source: str
    day: date
    statuses: Mapping[str, int]
    best: tuple[tuple[str, Payout], ...] = ()
    scored: int = 0
    log_loss: float | None = None
    base_log_loss: float | None = None
    base_events: int = 0

    @property
    def events(self) -> int:
        return sum(self.statuses.values())


@dataclass(frozen=True)
class Tip:
    """Our model gives one slot a high probability of winning, before the event starts."""

    rule: ClassVar[str] = "tip"
    event: EventFacts
    slot: int
    probability: float
    model_version: str
    state: str


@dataclass(frozen=True)
class BigPayout:
    rule: ClassVar[str] = "big-payout"
    event: EventFacts
    market: str
    payout: Payout


@dataclass(frozen=True)
class GradeResult:
    """The last event of a session of high grade has its result."""

    rule: ClassVar[str] = "grade"
    event: EventFacts


@dataclass(frozen=True)
class Surprise:
    """The winner was one that our last prediction gave little chance."""

    rule: ClassVar[str] = "surprise"
    event: EventFacts
    slot: int
    probability: float


@dataclass(frozen=True)
class CalledOff:
    rule: ClassVar[str] = "called-off"
    session: SessionFacts


@dataclass(frozen=True)
class Daily:
    rule: ClassVar[str] = "daily"
    digest: Digest


Finding = Tip | BigPayout | GradeResult | Surprise | CalledOff | Daily


def subject_of(finding: Finding) -> str:
    """What a finding is about: an event key, a session key, or source:date."""
    match finding:
        case CalledOff(session):
            return session.session_key
        case Daily(digest):
            return day_key(digest.source, digest.day)
        case _:
            return finding.event.event_key


def day_key(source: str, day: date) -> str:
    return f"{source}:{day.isoformat()}"


def finding_id(finding: Finding) -> UUID:
    """The same for the same news, on every machine and in every attempt: this is what makes it told once.

    What is told is part of it where a correction is news (another favourite, another payout, another winner). A day
    and a session that is called off are told once, whatever comes later.
    """
    match finding:
        case Daily(digest):
            return daily_id(digest.source, digest.day)
        case Tip(slot=slot) | Surprise(slot=slot):
            essence = str(slot)
        case BigPayout(payout=payout):
            essence = f"{payout.selection}={payout.amount}"
        case GradeResult(event):
            essence = "-".join(str(slot) for _, slot in event.placed[:3])
        case CalledOff():
            essence = "session"
    return uuid5(NAMESPACE, f"notification/{finding.rule}/{subject_of(finding)}/{essence}")


def daily_id(source: str, day: date) -> UUID:
    """Known before the digest is: a day that was told needs no counting again."""
    return uuid5(NAMESPACE, f"notification/daily/{source}/{day.isoformat()}")
