"""One moment of a run as data: everything that a view shows, and nothing that it has to ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Literal

from shared.clock import Clock

StageState = Literal["starting", "running", "paused", "waiting", "held back", "restarting", "failed", "stopped"]
Measure = Literal["load", "clock", "none"]
"""How the progress of a phase is measured: by what is loaded, by the clock between two instants, or not at all."""


@dataclass(frozen=True)
class Phase:
    """A part of a run. `name` is one of the run's steps; `text` is a sentence without a full stop."""

    name: str
    text: str
    measure: Measure = "none"
    clock: Clock | None = None
    begins: datetime | None = None
    ends: datetime | None = None
    zone: tzinfo = UTC
    speed: float = 1.0


@dataclass(frozen=True)
class StageStatus:
    """`paused_on`: topics that an operator has paused, also where the stage reads others meanwhile."""

    state: StageState = "stopped"
    replicas: int = 0
    paused_on: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Stage:
    """A service. `records` counts since the run began, `behind` what it has not read yet, `rates` is one a second."""

    service: str
    status: StageStatus = StageStatus()
    records: int = 0
    per_s: float = 0.0
    behind: int = 0
    rates: tuple[float, ...] = ()
    # One figure that says what the stage has made: "2,928 events".
    product: str = ""


@dataclass(frozen=True)
class EntryForecast:
    """An entry of an event. `probability` is that of winning."""

    slot: int
    name: str
    probability: float


@dataclass(frozen=True)
class EventForecast:
    """The newest prediction of an event made before its start, and its result once there is one.

    `entries` are sorted by probability, the highest first. `payout` is what the winner's backers got per 100 staked.
    """

    event_key: str
    venue: str
    number: int
    starts_at: datetime
    status: str
    state: str
    entries: tuple[EntryForecast, ...]
    winners: tuple[int, ...] = ()
    payout: int | None = None

    @property
    def is_hit(self) -> bool | None:
        """Whether the most probable entry won; None without a winner."""
        return self.entries[0].slot in self.winners if self.winners and self.entries else None

    def entry(self, slot: int) -> EntryForecast | None:
        return next((entry for entry in self.entries if entry.slot == slot), None)


@dataclass(frozen=True)
class LoadedResult:
    """An event whose result was loaded lately, predicted or not."""

    venue: str
    number: int
    starts_at: datetime
    winner: str
    payout: int | None


@dataclass(frozen=True)
class HitRate:
    """Predicted events that have a winner: how many, and how often the most probable entry won.

    `expected_hits` is the sum of the favourites' probabilities: what `hits` should be if they are calibrated.
    """

    events: int = 0
    settled: int = 0
    hits: int = 0
    expected_hits: float = 0.0


@dataclass(frozen=True)
class SentMessage:
    """`text` is Discord's markdown."""

    id: int
    rule: str
    text: str


@dataclass(frozen=True)
class Details:
    """What the tables hold, as far as the view shows it. The newest first, upcoming events in order of their start."""

    statuses: Mapping[str, StageStatus] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    upcoming: tuple[EventForecast, ...] = ()
    started: tuple[EventForecast, ...] = ()
    results: tuple[LoadedResult, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    score: HitRate = HitRate()
    predictions: int = 0
    sent: int = 0
    messages: tuple[SentMessage, ...] = ()


@dataclass(frozen=True)
class Frame:
    """`loaded` is the fraction of the known work that is loaded; `now` is the phase's clock at this moment.

    `notices` are what needs attention, `log` what happened so far, `activity` the last lines of a program that runs.
    """

    title: str
    steps: tuple[str, ...]
    phase: Phase
    elapsed_s: float = 0.0
    phase_s: float = 0.0
    now: datetime | None = None
    loaded: float = 0.0
    stages: tuple[Stage, ...] = ()
    topics: Mapping[str, int] = field(default_factory=dict)
    details: Details = Details()
    notices: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    activity: tuple[str, ...] = ()

    def fraction(self) -> float | None:
        """How much of the phase is done, from 0 to 1; None where that is not known."""
        if self.phase.measure == "load":
            return self.loaded
        begins, ends = self.phase.begins, self.phase.ends
        if self.phase.measure == "clock" and begins and ends and self.now:
            return min(1.0, max(0.0, (self.now - begins) / (ends - begins)))
        return None

    def local(self, instant: datetime) -> datetime:
        """In the time zone of the phase."""
        return instant.astimezone(self.phase.zone)
