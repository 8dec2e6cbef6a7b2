"""Creates metrics in a registry of their own and notes their definitions, from which docs/metrics.md is generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

PREFIX = "headrace"


class MetricDefinition(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class MetricRegistry:
    """A registry with the metrics of the process and the definitions of all others."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.definitions: list[MetricDefinition] = []
        ProcessCollector(registry=self.registry)

    def _counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        self._note(name, "counter", meaning, labels)
        return Counter(name, meaning, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        self._note(name, "gauge", meaning, labels)
        return Gauge(name, meaning, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(self, name: str, meaning: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        self._note(name, "histogram", meaning, labels)
        return Histogram(name, meaning, labels, namespace=PREFIX, registry=self.registry, buckets=buckets)

    def _note(self, name: str, kind: str, meaning: str, labels: Sequence[str]) -> None:
        self.definitions.append(MetricDefinition(f"{PREFIX}_{name}", kind, tuple(labels), meaning))
