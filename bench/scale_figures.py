"""The figures of `make bench-scale`, and their medians over the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

TOGETHER = "all five"
BROKERS = ("embedded", "kafka")


@dataclass(frozen=True)
class StageCost:
    """What a stage used for its records. CPU times are sums over its replicas; memory and connections are of one."""

    records: int
    elapsed_s: float
    cpu_s: float
    postgres_cpu_s: float
    kafka_cpu_s: float
    peak_mb: float
    connections: float

    @property
    def records_per_s(self) -> float:
        return self.records / self.elapsed_s

    def per_thousand_s(self, part: str) -> float:
        """CPU seconds for 1,000 records; `part` is the name of a field."""
        return 1000 * float(getattr(self, part)) / self.records


@dataclass(frozen=True)
class StorageSize:
    """Bytes after a season of `events` events: topics and tables as (records or rows, bytes)."""

    days: int
    events: int
    topics: dict[str, tuple[int, int]]
    tables: dict[str, tuple[int, int]]
    archive_bytes: int
    export_bytes: int
    cursor_bytes: int


@dataclass(frozen=True)
class IdleCost:
    """What the pipeline uses while it has nothing to do. `_cpu` is a share of one CPU, of one replica on average."""

    replica_cpu: float
    postgres_cpu: float
    kafka_cpu: float
    replica_mb: dict[str, float]
    postgres_mb: float
    kafka_mb: float


@dataclass(frozen=True)
class ScaleKey:
    """A stage with a number of replicas on a broker."""

    broker: str
    stage: str
    replicas: int


class ScaleFigures:
    """All measurements of all rounds."""

    def __init__(self) -> None:
        self.costs: dict[ScaleKey, list[StageCost]] = {}
        self.storage: dict[str, StorageSize] = {}
        self.idle: dict[str, list[IdleCost]] = {}

    def add(self, key: ScaleKey, cost: StageCost) -> None:
        self.costs.setdefault(key, []).append(cost)

    def median(self, broker: str, stage: str, replicas: int = 1) -> StageCost:
        return median_cost(self.costs[ScaleKey(broker, stage, replicas)])

    def as_json(self) -> dict[str, Any]:
        return {
            "costs": [{**asdict(key), "rounds": [asdict(each) for each in costs]} for key, costs in self.costs.items()],
            "idle": {broker: [asdict(each) for each in rounds] for broker, rounds in self.idle.items()},
            "storage": {broker: asdict(size) for broker, size in self.storage.items()},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ScaleFigures:
        figures = cls()
        for each in content["costs"]:
            key = ScaleKey(each["broker"], each["stage"], each["replicas"])
            figures.costs[key] = [StageCost(**cost) for cost in each["rounds"]]
        figures.idle = {broker: [IdleCost(**each) for each in rounds] for broker, rounds in content["idle"].items()}
        for broker, size in content["storage"].items():
            pairs = {name: {key: tuple(pair) for key, pair in size[name].items()} for name in ("topics", "tables")}
            figures.storage[broker] = StorageSize(**{**size, **pairs})
        return figures


def median_cost(rounds: Sequence[StageCost]) -> StageCost:
    """The median of each figure."""
    values = {name: statistics.median(getattr(each, name) for each in rounds) for name in asdict(rounds[0])}
    return StageCost(**{**values, "records": int(values["records"])})
