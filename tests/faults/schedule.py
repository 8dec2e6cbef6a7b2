"""Schedules of faults: derives from a seed which faults are injected into the pipeline, when and where.

A schedule is printed as one line of JSON and can be read from it, so that a failure can be run again.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from datetime import date, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from shared.topics import SERVICES

EMBEDDED, KAFKA = "embedded", "kafka"
# A partition's lease and Kafka's session last 10 s: a process that is stopped for longer is replaced.
BEYOND_LEASE_S = 12.5
# Services whose units are database transactions on both brokers.
IN_DATABASE = ("loader", "notifier")
FIRST_DAY, LAST_DAY = date(2025, 7, 15), date(2026, 3, 31)
# Duration of one recorded day of four venues at the fetcher's pace, in seconds.
DAY_S = 2.4
# For planning: the typical recovery time of a stage.
TYPICAL_S = {EMBEDDED: 3.0, KAFKA: 6.0}
# For planning: what an accident takes beside its recovery, for example a backup, a restore and starts of programs.
ACCIDENT_S = 16.0
# Each accident has at least this many days, whatever limits the days of the run: some documents before it, while it
# lasts (`supply.py`), and for its recovery.
ACCIDENT_DAYS = 7


class Kind(StrEnum):
    """The kinds of faults."""

    KILL = "kill -9"
    STOP = "SIGSTOP beyond the lease"
    POINT = "kill -9 at a named point"
    DATABASE_RESTART = "database restarted (immediate)"
    DATABASE_KILL = "database killed (SIGKILL)"
    BROKER_RESTART = "Kafka restarted"
    BROKER_KILL = "Kafka killed (SIGKILL)"
    CUT = "connections cut"
    DELAY = "connections delayed"
    BLOCK = "connections blocked"
    LOST_REPLY = "reply to commit lost"
    # Accidents (tests/faults/accidents): each needs more than a process or a connection that comes back.
    RESTORE = "older backup restored"
    FAILOVER = "failover that lost commits"
    READ_ONLY = "database read-only"
    DATABASE_FULL = "disk of the database full"
    ARCHIVE_FULL = "disk of the archive full"
    SLOW = "statements above their limit"
    CLOCK = "clock jumps by a day"
    NEW_KAFKA = "new, empty Kafka"
    RETENTION = "retention overtakes a stopped service"
    CONNECTIONS = "connections exhausted"


# The names of the accidents in the option --accidents.
ACCIDENTS = {
    "restore": Kind.RESTORE,
    "failover": Kind.FAILOVER,
    "read-only": Kind.READ_ONLY,
    "database-full": Kind.DATABASE_FULL,
    "archive-full": Kind.ARCHIVE_FULL,
    "slow": Kind.SLOW,
    "clock": Kind.CLOCK,
    "new-kafka": Kind.NEW_KAFKA,
    "retention": Kind.RETENTION,
    "connections": Kind.CONNECTIONS,
}
# They need small disks.
DISKS = frozenset({Kind.DATABASE_FULL, Kind.ARCHIVE_FULL})


class Point(StrEnum):
    """A point in a unit's life at which the process can be killed (tests/faults/points.py)."""

    BEFORE_APPEND = "before append"
    AFTER_APPEND = "after append"
    BEFORE_COMMIT = "before commit"
    DURING_COMMIT = "during commit"
    AFTER_COMMIT = "between commit and acknowledgement"
    # Only a deliberately broken unit reaches this point (tests/faults/broken.py).
    BETWEEN_HALVES = "between the halves of a broken unit"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fault(_Frozen):
    """One fault of one `target`: a replica (`cleaner-0`), a service's connections, the database, Kafka.

    `after_s`: the time since the previous recovery. `hold_s`: how long the fault lasts. `nth`: the unit in which a
    named point kills. A block with an even `nth` ends by breaking the connections; a clock with an even one jumps back.
    """

    kind: Kind
    target: str
    after_s: float = 1.0
    hold_s: float = 0.0
    point: Point | None = None
    nth: int = 1

    @property
    def service(self) -> str:
        """The affected stage; empty if all are affected."""
        name = self.target.partition("-")[0]
        return name if name in SERVICES else ""

    def __str__(self) -> str:
        point = f" ({self.point}, unit {self.nth})" if self.point else ""
        hold = f" for {self.hold_s:g} s" if self.hold_s else ""
        return f"{self.kind}{point}: {self.target}{hold}"


class Schedule(_Frozen):
    """A run: days, broker, replicas, and the faults in order.

    `late` faults hit the day of predictions, which is fetched after all others: named points, and a failover to the
    database of before that day.
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
    def kinds(self) -> frozenset[Kind]:
        return frozenset(fault.kind for fault in (*self.faults, *self.late))

    @property
    def history(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range(self.days)]

    @property
    def upcoming(self) -> date:
        """The day of predictions."""
        return self.first + timedelta(days=self.days)


def make_schedule(
    seed: int, broker: str, minutes: float, most_days: int | None = None, accidents: Collection[Kind] = ()
) -> Schedule:
    """The schedule of a seed. Every kind of fault occurs before one is repeated. Each of `accidents` occurs once, at a
    random place among the faults of `minutes`."""
    rng = random.Random(seed)
    replicas = {"cleaner": 2, "loader": 2} | ({"fetcher": 2, "predictor": 2, "notifier": 2} if seed % 2 else {})
    drawn = list(_draw_faults(rng, broker, replicas, minutes * 60))
    for accident in _draw_accidents(rng, broker, accidents):
        drawn.insert(rng.randint(0, len(drawn)), accident)
    faults = tuple(drawn)
    cost_s = sum(cost_of(fault, broker) for fault in faults)
    days = min(most_days or 1000, 2 + round(cost_s / DAY_S))
    days = max(days, 2 + ACCIDENT_DAYS * sum(fault.kind in ACCIDENTS.values() for fault in faults))
    span = (LAST_DAY - FIRST_DAY).days - days - 1
    first = FIRST_DAY + timedelta(days=rng.randint(0, span))
    late = tuple(
        Fault(kind=Kind.POINT, target=f"{service}-0", point=rng.choice(COMMON_POINTS))
        for service in ("loader", "predictor", "notifier")
    )
    if Kind.FAILOVER in accidents:
        late += (Fault(kind=Kind.FAILOVER, target="database"),)
    return Schedule(seed=seed, broker=broker, first=first, days=days, replicas=replicas, faults=faults, late=late)


COMMON_POINTS = tuple(point for point in Point if point is not Point.BETWEEN_HALVES)


def proxy_of(broker: str, service: str) -> str:
    """The name of a service's proxy of the broker, or of the database if the broker is embedded."""
    return f"{service}-kafka" if broker == KAFKA else service


def proxies_of(broker: str) -> list[str]:
    """The proxies that the work of the stages uses: on Kafka, only loader and notifier use that of the database."""
    database_proxies = [service for service in IN_DATABASE if broker == KAFKA]
    return [*(proxy_of(broker, service) for service in SERVICES), *database_proxies]


def committing_proxy(broker: str, service: str) -> str:
    """The proxy through which the service commits its units."""
    return service if service in IN_DATABASE else proxy_of(broker, service)


def cost_of(fault: Fault, broker: str) -> float:
    """The approximate duration of a fault and its recovery, in seconds."""
    accident_s = ACCIDENT_S if fault.kind in ACCIDENTS.values() else 0.0
    return fault.after_s + fault.hold_s + accident_s + TYPICAL_S[broker]


def _draw_faults(rng: random.Random, broker: str, replicas: dict[str, int], length_s: float) -> Iterator[Fault]:
    total_s = 0.0
    while True:
        for fault in _shuffled(rng, list(_fault_candidates(rng, broker, replicas))):
            total_s += cost_of(fault, broker)
            if total_s > length_s:
                return
            yield fault


def _shuffled(rng: random.Random, candidates: list[Fault]) -> Iterator[Fault]:
    """One fault of each kind first, so that a short schedule has many kinds."""
    rng.shuffle(candidates)
    firsts = {fault.kind: fault for fault in candidates}
    yield from firsts.values()
    yield from (fault for fault in candidates if fault is not firsts[fault.kind])


def _fault_candidates(rng: random.Random, broker: str, replicas: dict[str, int]) -> Iterator[Fault]:
    def random_pause_s() -> float:
        return round(rng.uniform(0.2, 1.5), 2)

    proxies = proxies_of(broker)
    for service in SERVICES:
        target = f"{service}-{rng.randrange(replicas.get(service, 1))}"
        yield Fault(kind=Kind.KILL, target=target, after_s=random_pause_s())
        for point in COMMON_POINTS:
            nth = rng.randint(1, 3)
            yield Fault(kind=Kind.POINT, target=f"{service}-0", after_s=random_pause_s(), point=point, nth=nth)
        yield Fault(kind=Kind.LOST_REPLY, target=committing_proxy(broker, service), after_s=random_pause_s())
    for proxy in proxies:
        yield Fault(kind=Kind.CUT, target=proxy, after_s=random_pause_s())
    replicated = [service for service, count in replicas.items() if count > 1]
    yield Fault(kind=Kind.STOP, target=f"{rng.choice(replicated)}-0", after_s=random_pause_s(), hold_s=BEYOND_LEASE_S)
    yield Fault(kind=Kind.DELAY, target=rng.choice(proxies), after_s=random_pause_s(), hold_s=3.0)
    for nth in (1, 2):
        yield Fault(kind=Kind.BLOCK, target=rng.choice(proxies), after_s=random_pause_s(), hold_s=4.0, nth=nth)
    yield Fault(kind=Kind.DATABASE_RESTART, target="database", after_s=random_pause_s())
    yield Fault(kind=Kind.DATABASE_KILL, target="database", after_s=random_pause_s())
    if broker == KAFKA:
        yield Fault(kind=Kind.BROKER_RESTART, target="kafka", after_s=random_pause_s())
        yield Fault(kind=Kind.BROKER_KILL, target="kafka", after_s=random_pause_s())


def _draw_accidents(rng: random.Random, broker: str, kinds: Collection[Kind]) -> list[Fault]:
    """One of each kind, in random order. `hold_s` is how long it lasts; of a restore and a failover the age of the
    copy, of a stopped service the time without it."""
    accidents = [
        Fault(
            kind=kind,
            target=_target_of(rng, kind),
            after_s=round(rng.uniform(0.2, 1.5), 2),
            hold_s=round(rng.uniform(2.0, 6.0), 2),
            nth=rng.randint(1, 2),
        )
        for kind in ACCIDENTS.values()
        if kind in kinds and (broker == KAFKA or kind is not Kind.NEW_KAFKA)
    ]
    rng.shuffle(accidents)
    return accidents


def _target_of(rng: random.Random, kind: Kind) -> str:
    """Retention hits a reader of loaded-events: what it loses is a number of messages and not a number of rows."""
    targets = {
        Kind.ARCHIVE_FULL: "fetcher",
        Kind.CLOCK: "clock",
        Kind.NEW_KAFKA: "kafka",
        Kind.RETENTION: rng.choice(["predictor", "notifier"]),
    }
    return targets.get(kind, "database")
