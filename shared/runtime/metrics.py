"""Every metric of Headrace, once: its name, kind, labels and meaning. docs/metrics.md is made from here.

Labels are bounded: topics, partitions, stages, outcomes, names of error classes. A key or an id is never a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

PREFIX = "headrace"
# From one small unit (a few ms) to a stuck one: the grace of a stop is below 10 s, a lease's time below 30.
DURATION_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# From live (below a second) to a backfill of last year.
AGE_S = (0.1, 0.5, 1, 5, 30, 60, 300, 1800, 3600, 6 * 3600, 86400, 7 * 86400, 365 * 86400)
SIZE_RECORDS = (1, 5, 10, 50, 100, 250, 500, 1000, 2000, 5000)


class Definition(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """The metrics of one process, in a registry of its own. Safe to use from any thread."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.definitions: list[Definition] = []
        ProcessCollector(registry=self.registry)
        self._define_flow()
        self._define_trouble()
        self._define_services()

    def _define_flow(self) -> None:
        self.records = self._counter(
            "records_total",
            "records, by what became of them: in (read), out (appended), filtered, dead",
            ("service", "topic", "outcome"),
        )
        self.consumer_lag = self._gauge(
            "consumer_lag_records", "records between a position and the end of its partition", ("topic", "partition")
        )
        self.batch_duration = self._histogram(
            "batch_duration_seconds", "time of one unit, by stage: poll, handle, commit", ("stage",), DURATION_S
        )
        self.batch_size = self._histogram("batch_size_records", "records of one unit", (), SIZE_RECORDS)
        self.event_age = self._histogram(
            "event_age_seconds", "how old a record is when a stage is done with it", ("stage",), AGE_S
        )
        self.last_success = self._gauge("last_success_timestamp_seconds", "Unix time of the last committed unit")
        self.units = self._counter("units_total", "units: committed, aborted, fenced, unknown", ("outcome",))
        self.rebalances = self._counter("rebalances_total", "times the set of owned partitions changed")
        self.build_info = self._gauge("build_info", "1; the labels say what runs", ("service", "version", "python"))

    def _define_trouble(self) -> None:
        self.dead_letters = self._counter(
            "dead_letters_total", "records that could not be handled, by cause", ("topic", "reason")
        )
        self.retries = self._counter(
            "retries_total", "tries after a failure that may pass, by cause", ("operation", "reason")
        )
        self.regressions = self._counter(
            "regressions_total", "facts that a later document lacked; counted, kept, not applied", ("feed",)
        )
        self.parked_rows = self._gauge("parked_rows", "rows that wait for a parent that is not known yet", ("table",))

    def _define_services(self) -> None:
        self.fetch_requests = self._counter(
            "fetch_requests_total", "requests to a source, by HTTP status or `error`", ("source", "status")
        )
        self.model_info = self._gauge("model_info", "1 for the model in use", ("version",))
        self.prediction_duration = self._histogram(
            "prediction_duration_seconds", "time to predict one batch, features included", (), DURATION_S
        )
        self.prediction_log_loss = self._gauge(
            "prediction_log_loss", "mean log-loss of the last settled events, in nats", ("head", "model")
        )
        self.notifications = self._counter(
            "notifications_total", "messages, by channel and outcome: sent, failed, parked", ("channel", "outcome")
        )

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
        self.definitions.append(Definition(f"{PREFIX}_{name}", kind, tuple(labels), meaning))


def table(metrics: Metrics) -> str:
    """The table of docs/metrics.md."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in metrics.definitions
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows, ""])
