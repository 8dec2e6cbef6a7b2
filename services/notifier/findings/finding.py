"""Findings (news worth a notification) and the data they consist of. rules.py selects, texts/templates.py renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar, NamedTuple
from uuid import UUID, uuid5

from services.notifier.kinds import EventKind
from shared.events import NAMESPACE

DEFAULT_MARKET = "trifecta"
"""The market of rules that name none."""


class Payout(NamedTuple):
    """The settled amount of one selection, in the source's currency per 100 staked."""

    selection: str
    amount: int
    market: str = DEFAULT_MARKET


@dataclass(frozen=True)
class SessionDetails:
    """A session, its number of events, and the numbers of those that are cancelled or postponed."""

    session_key: str
    day: date
    venue: int
    venue_name: str | None = None
    title: str | None = None
    grade: int | None = None
    events: int = 0
    called_off_numbers: tuple[int, ...] = ()

    @property
    def source(self) -> str:
        return source_of_key(self.session_key)


@dataclass(frozen=True)
class EventDetails:
    """One event. `names` and `win_probabilities` are by slot; `places` are (place, slot), sorted by place. `entities`
    are the keys of those that take part.

    `win_probabilities` are those of the last prediction made before the event started.
    """

    event_key: str
    session: SessionDetails
    number: int
    scheduled_at: datetime | None
    status: str
    names: Mapping[int, str] = field(default_factory=dict)
    places: tuple[tuple[int, int], ...] = ()
    payouts: tuple[Payout, ...] = ()
    win_probabilities: Mapping[int, float] = field(default_factory=dict)
    entities: frozenset[str] = frozenset()

    @property
    def source(self) -> str:
        return source_of_key(self.event_key)

    @property
    def winner(self) -> int | None:
        """The slot in first place; None if there is no result yet, or after a dead heat."""
        first = [slot for place, slot in self.places if place == 1]
        return first[0] if len(first) == 1 else None


@dataclass(frozen=True)
class Digest:
    """The figures of a source's day. Both log losses are means in nats over `scored_events` events; None if it is 0."""

    source: str
    day: date
    statuses: Mapping[str, int]
    best_payouts: tuple[tuple[str, Payout], ...] = ()
    scored_events: int = 0
    log_loss: float | None = None
    base_log_loss: float | None = None
    base_events: int = 0

    @property
    def events(self) -> int:
        return sum(self.statuses.values())


@dataclass(frozen=True)
class Tip:
    """Before an event starts, the model gives one slot a high probability of winning."""

    kind: ClassVar[EventKind] = "tip"
    event: EventDetails
    slot: int
    probability: float
    model_version: str
    state: str


@dataclass(frozen=True)
class BigPayout:
    """A settled event has a high payout."""

    kind: ClassVar[EventKind] = "big-payout"
    event: EventDetails
    payout: Payout


@dataclass(frozen=True)
class GradeResult:
    """The last event of a high-grade session is settled."""

    kind: ClassVar[EventKind] = "grade"
    event: EventDetails


@dataclass(frozen=True)
class Surprise:
    """The winner had a low probability in the last prediction."""

    kind: ClassVar[EventKind] = "surprise"
    event: EventDetails
    slot: int
    probability: float


@dataclass(frozen=True)
class CalledOff:
    """Events of a session are cancelled or postponed."""

    kind: ClassVar[EventKind] = "called-off"
    session: SessionDetails


@dataclass(frozen=True)
class Daily:
    """The summary of a source's day."""

    kind: ClassVar[EventKind] = "daily"
    digest: Digest


Finding = Tip | BigPayout | GradeResult | Surprise | CalledOff | Daily


def subject_of(finding: Finding) -> str:
    """The subject of a finding: an event key, a session key, or source:date."""
    match finding:
        case CalledOff(session):
            return session.session_key
        case Daily(digest):
            return day_key(digest.source, digest.day)
        case _:
            return finding.event.event_key


def source_of_key(key: str) -> str:
    """The source of an event key or session key."""
    return key.partition(":")[0]


def day_key(source: str, day: date) -> str:
    return f"{source}:{day.isoformat()}"


def finding_id(finding: Finding) -> UUID:
    """A deterministic id: the same finding has the same id on every machine and in every attempt, so it is sent once.

    The id depends on the content where a correction is news (another favourite, payout or winner). For a day and for a
    called-off session it does not, so these are sent once, even if they change later.
    """
    match finding:
        case Daily(digest):
            return daily_id(digest.source, digest.day)
        case Tip(slot=slot) | Surprise(slot=slot):
            content = str(slot)
        case BigPayout(payout=payout):
            market = "" if payout.market == DEFAULT_MARKET else f"{payout.market}:"
            content = f"{market}{payout.selection}={payout.amount}"
        case GradeResult(event):
            content = "-".join(str(slot) for _, slot in event.places[:3])
        case CalledOff():
            content = "session"
    return uuid5(NAMESPACE, f"notification/{finding.kind}/{subject_of(finding)}/{content}")


def daily_id(source: str, day: date) -> UUID:
    """The id of a day's summary. It needs no digest, so the digest of a recorded day is not computed again."""
    return uuid5(NAMESPACE, f"notification/daily/{source}/{day.isoformat()}")
