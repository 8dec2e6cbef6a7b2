"""What is done to the pipeline, when and to whom: a seed becomes a list of faults. Pure.

A schedule prints as one line of JSON and is read back from it, so that a failure can be run again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from shared.topics import SERVICES

EMBEDDED, KAFKA = "embedded", "kafka"
# The lease of a partition, and Kafka's session, last 10 s: a process that is stopped for longer is replaced.
BEYOND_LEASE_S = 12.5
# Whose units are transactions of the database, whatever the broker.
IN_DATABASE = ("loader", "notifier")
FIRST_DAY, LAST_DAY = date(2025, 7, 15), date(2026, 3, 31)
# One recorded day of four venues, at the pace of the paced fetcher, in seconds.
DAY_S = 2.4
# For planning: how long a stage is away, and on Kafka, where more has to be built up again.
TYPICAL_S = {EMBEDDED: 3.0, KAFKA: 6.0}


class Kind(StrEnum):
    """What can be done."""

    KILL = "kill -9"
    STOP = "SIGSTOP beyond the lease"
    POINT = "kill -9 at a named point"
    DATABASE_RESTART = "database restarted (immediate)"
    DATABASE_KILL = "database killed (SIGKILL)"
    BROKER_RESTART = "Kafka restarted"
    BROKER_KILL = "Kafka killed (SIGKILL)"
    CUT = "connections cut"
    DELAY = "connections delayed"
    HOLE = "connections black-holed"
    LOST_REPLY = "reply to commit lost"


class Point(StrEnum):
    """A place in a unit's life where the process can be made to die (tests/faults/points.py)."""

    BEFORE_APPEND = "before append"
    AFTER_APPEND = "after append"
    BEFORE_COMMIT = "before commit"
    DURING_COMMIT = "during commit"
    AFTER_COMMIT = "between commit and acknowledgement"
    # Only a deliberately broken unit comes by here (tests/faults/broken.py).
    BETWEEN_HALVES = "between the halves of a broken unit"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fault(_Frozen):
    """One thing done to one `target`: a replica (`cleaner-0`), a service's connections, the database, Kafka.

    `after_s` counts from the recovery before; `hold_s` is how long it lasts; `nth` is which unit a point means. A
    black hole with an even `nth` ends with its connections broken.
    """

    kind: Kind
    target: str
    after_s: float = 1.0
    hold_s: float = 0.0
    point: Point | None = None
    nth: int = 1

    @property
    def service(self) -> str:
        """The stage that is hit; empty where all are."""
        name = self.target.partition("-")[0]
        return name if name in SERVICES else ""

    def __str__(self) -> str:
        point = f" ({self.point}, unit {self.nth})" if self.point else ""
        hold = f" for {self.hold_s:g} s" if self.hold_s else ""
        return f"{self.kind}{point}: {self.target}{hold}"


class Schedule(_Frozen):
    """A run: which days over which broker, how many replicas, and the faults in order.

    `late` faults are named points that wait for the day of predictions, which is fetched after all others.
    """

    seed: int
    broker: str
    first: date
    days: int
    venues: int = 4
    replicas: dict[str, int]
    faults: tuple[Fault, ...]
    late: tuple[Fault, ...] = ()

    @property
    def history(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range(self.days)]

    @property
    def upcoming(self) -> date:
        """The day of predictions."""
        return self.first + timedelta(days=self.days)


def made(seed: int, broker: str, minutes: float, most_days: int | None = None) -> Schedule:
    """The schedule of a seed: every kind comes before any comes again."""
    chance = random.Random(seed)
    replicas = {"cleaner": 2, "loader": 2} | ({"fetcher": 2, "predictor": 2, "notifier": 2} if seed % 2 else {})
    faults = tuple(_drawn(chance, broker, replicas, minutes * 60))
    cost_s = sum(cost_of(fault, broker) for fault in faults)
    days = min(most_days or 1000, 2 + round(cost_s / DAY_S))
    span = (LAST_DAY - FIRST_DAY).days - days - 1
    first = FIRST_DAY + timedelta(days=chance.randint(0, span))
    late = tuple(
        Fault(kind=Kind.POINT, target=f"{service}-0", point=chance.choice(COMMON_POINTS))
        for service in ("loader", "predictor", "notifier")
    )
    return Schedule(seed=seed, broker=broker, first=first, days=days, replicas=replicas, faults=faults, late=late)


COMMON_POINTS = tuple(point for point in Point if point is not Point.BETWEEN_HALVES)


def line_of(broker: str, service: str) -> str:
    """The name of a service's line to a broker or, for the embedded one, to the database."""
    return f"{service}-kafka" if broker == KAFKA else service


def lines_of(broker: str) -> list[str]:
    """Lines over which a stage's work goes: with Kafka that of most services does not touch the database."""
    rows = [service for service in IN_DATABASE if broker == KAFKA]
    return [*(line_of(broker, service) for service in SERVICES), *rows]


def committing_line(broker: str, service: str) -> str:
    """Where its units commit."""
    return service if service in IN_DATABASE else line_of(broker, service)


def cost_of(fault: Fault, broker: str) -> float:
    """About how long it takes, recovery included, in seconds."""
    return fault.after_s + fault.hold_s + TYPICAL_S[broker]


def _drawn(chance: random.Random, broker: str, replicas: dict[str, int], length_s: float) -> Iterator[Fault]:
    spent_s = 0.0
    while True:
        for fault in _dealt(chance, list(_deck(chance, broker, replicas))):
            spent_s += cost_of(fault, broker)
            if spent_s > length_s:
                return
            yield fault


def _dealt(chance: random.Random, deck: list[Fault]) -> Iterator[Fault]:
    """One of each kind first, then the rest: a short schedule is not all of one kind."""
    chance.shuffle(deck)
    firsts = {fault.kind: fault for fault in deck}
    yield from firsts.values()
    yield from (fault for fault in deck if fault is not firsts[fault.kind])


def _deck(chance: random.Random, broker: str, replicas: dict[str, int]) -> Iterator[Fault]:
    def gap() -> float:
        return round(chance.uniform(0.2, 1.5), 2)

    lines = lines_of(broker)
    for service in SERVICES:
        target = f"{service}-{chance.randrange(replicas.get(service, 1))}"
        yield Fault(kind=Kind.KILL, target=target, after_s=gap())
        for point in COMMON_POINTS:
            nth = chance.randint(1, 3)
            yield Fault(kind=Kind.POINT, target=f"{service}-0", after_s=gap(), point=point, nth=nth)
        yield Fault(kind=Kind.LOST_REPLY, target=committing_line(broker, service), after_s=gap())
    for line in lines:
        yield Fault(kind=Kind.CUT, target=line, after_s=gap())
    twins = [service for service, count in replicas.items() if count > 1]
    yield Fault(kind=Kind.STOP, target=f"{chance.choice(twins)}-0", after_s=gap(), hold_s=BEYOND_LEASE_S)
    yield Fault(kind=Kind.DELAY, target=chance.choice(lines), after_s=gap(), hold_s=3.0)
    for nth in (1, 2):
        yield Fault(kind=Kind.HOLE, target=chance.choice(lines), after_s=gap(), hold_s=4.0, nth=nth)
    yield Fault(kind=Kind.DATABASE_RESTART, target="database", after_s=gap())
    yield Fault(kind=Kind.DATABASE_KILL, target="database", after_s=gap())
    if broker == KAFKA:
        yield Fault(kind=Kind.BROKER_RESTART, target="kafka", after_s=gap())
        yield Fault(kind=Kind.BROKER_KILL, target="kafka", after_s=gap())
