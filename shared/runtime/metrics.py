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
SIZE_RECORDS = (1, 5, 10, 50, 100, 250, 500, 1000, 2000, 5000)


class Definition(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """The metrics of one process, in a registry of its own; attributes are named as the metrics, less the prefix."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.definitions: list[Definition] = []
        ProcessCollector(registry=self.registry)
        self._define_flow()
        self._define_trouble()
        self._define_services()

    def _define_flow(self) -> None:
        self.records_total = self._counter(
            "records_total",
            "records, by what became of them: handled, appended, failed, `filtered: REASON`",
            ("service", "topic", "outcome"),
        )
        self.consumer_lag_records = self._gauge(
            "consumer_lag_records", "records that wait to be handled", ("topic", "partition")
        )
        self.consumer_lag_seconds = self._gauge(
            "consumer_lag_seconds", "age of the oldest record that waits to be handled", ("topic", "partition")
        )
        self.batch_duration_seconds = self._histogram(
            "batch_duration_seconds", "time of one unit, from its records in hand to its commit", ("stage",), DURATION_S
        )
        self.batch_size_records = self._histogram("batch_size_records", "records of one unit", (), SIZE_RECORDS)
        self.event_age_seconds = self._gauge(
            "event_age_seconds", "age of the newest record that a stage is done with, when it was", ("stage",)
        )
        self.last_success_timestamp_seconds = self._gauge(
            "last_success_timestamp_seconds", "Unix time of the last committed unit"
        )
        self.units_total = self._counter("units_total", "units: committed, aborted, fenced, unknown", ("outcome",))
        self.rebalances_total = self._counter("rebalances_total", "times the set of owned partitions changed")
        self.build_info = self._gauge("build_info", "1; the labels say what runs", ("service", "version", "python"))

    def _define_trouble(self) -> None:
        self.dead_letters_total = self._counter(
            "dead_letters_total", "records that could not be handled, by cause", ("topic", "reason")
        )
        self.paused = self._gauge("paused", "1 while an operator's order keeps a topic from being handled", ("topic",))
        self.redriven_total = self._counter(
            "redriven_total",
            "dead letters that were sent back to be tried again, by what became of them: sent, handled, failed",
            ("outcome",),
        )
        self.operation_progress_ratio = self._gauge(
            "operation_progress_ratio", "how far the job is that runs in this process, from 0 to 1", ("kind",)
        )
        self.tripped_partitions = self._gauge(
            "tripped_partitions",
            "1 for a partition that is held back, because too many of its records failed",
            ("topic", "partition"),
        )
        self.retries_total = self._counter(
            "retries_total", "tries after a failure that may pass, by cause", ("operation", "reason")
        )
        self.regressions_total = self._counter(
            "regressions_total", "facts that a later document lacked; counted, kept, not applied", ("feed",)
        )
        self.parked_rows = self._gauge("parked_rows", "rows that wait for a parent that is not known yet", ("table",))

    def _define_services(self) -> None:
        self.fetch_requests_total = self._counter(
            "fetch_requests_total",
            "requests to a source, by what came: document, unchanged, not published, failed (tried again), refused",
            ("source", "status"),
        )
        self.model_info = self._gauge("model_info", "1 for the model in use", ("version",))
        self.prediction_duration_seconds = self._histogram(
            "prediction_duration_seconds", "time to predict one batch, features included", (), DURATION_S
        )
        self.prediction_log_loss = self._gauge(
            "prediction_log_loss", "mean log-loss of the last settled events, in nats", ("head", "model")
        )
        self.prediction_base_log_loss = self._gauge(
            "prediction_base_log_loss", "what telling the base rate would have got on these events", ("head", "model")
        )
        self.prediction_calibration_error = self._gauge(
            "prediction_calibration_error",
            "expected calibration error on the same events, of all slots' probabilities (`all`) or the highest (`top`)",
            ("head", "model", "of"),
        )
        self.model_behind_base_rate = self._gauge(
            "model_behind_base_rate",
            "1 while a model's log-loss is above the base rate's with 95 % confidence",
            ("head", "model"),
        )
        self.feature_drift_index = self._gauge(
            "feature_drift_index",
            "population stability index of recent input against training, of the ten features that moved furthest",
            ("feature",),
        )
        self.feature_group_drift_index = self._gauge(
            "feature_group_drift_index", "the same, mean of a group: card, observation, history", ("group",)
        )
        self.notifications_total = self._counter(
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
