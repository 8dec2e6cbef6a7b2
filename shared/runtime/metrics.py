"""Defines all metrics of Headrace: name, kind, labels and meaning. docs/metrics.md is generated from them.

Label values are bounded: topics, partitions, stages, outcomes, names of error classes. A key or an id is never a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

PREFIX = "headrace"
# From a small unit (a few ms) to a stuck one (10 to 30 s: the stop grace period, a lease).
DURATION_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZE_RECORDS = (1, 5, 10, 50, 100, 250, 500, 1000, 2000, 5000)


class MetricDefinition(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """The metrics of one process, in their own registry. An attribute is the metric's name without the prefix."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.definitions: list[MetricDefinition] = []
        ProcessCollector(registry=self.registry)
        self._define_flow()
        self._define_trouble()
        self._define_services()

    def _define_flow(self) -> None:
        self.records_total = self._counter(
            "records_total",
            "records by outcome: handled, appended, failed, `filtered: REASON`",
            ("service", "topic", "outcome"),
        )
        self.consumer_lag_records = self._gauge(
            "consumer_lag_records", "records that are not handled yet", ("topic", "partition")
        )
        self.consumer_lag_seconds = self._gauge(
            "consumer_lag_seconds", "age of the oldest record that is not handled yet", ("topic", "partition")
        )
        self.batch_duration_seconds = self._histogram(
            "batch_duration_seconds",
            "duration of one unit, from its polled records to its commit",
            ("stage",),
            DURATION_S,
        )
        self.batch_size_records = self._histogram("batch_size_records", "records per unit", (), SIZE_RECORDS)
        self.event_age_seconds = self._gauge(
            "event_age_seconds", "age of the newest record of a stage's last unit, at its commit", ("stage",)
        )
        self.last_success_timestamp_seconds = self._gauge(
            "last_success_timestamp_seconds", "Unix time of the last committed unit"
        )
        self.units_total = self._counter(
            "units_total", "units by outcome: committed, aborted, fenced, unknown", ("outcome",)
        )
        self.rebalances_total = self._counter("rebalances_total", "changes of the set of owned partitions")
        self.build_info = self._gauge(
            "build_info", "always 1; the labels identify the running software", ("service", "version", "python")
        )

    def _define_trouble(self) -> None:
        self.dead_letters_total = self._counter(
            "dead_letters_total", "records that could not be handled, by cause", ("topic", "reason")
        )
        self.paused = self._gauge("paused", "1 while an operator's order pauses the topic", ("topic",))
        self.redriven_total = self._counter(
            "redriven_total", "redriven dead letters by outcome: sent, handled, failed", ("outcome",)
        )
        self.operation_progress_ratio = self._gauge(
            "operation_progress_ratio", "progress of the job that this replica runs, from 0 to 1", ("kind",)
        )
        self.tripped_partitions = self._gauge(
            "tripped_partitions",
            "1 while the partition is held back because too many of its records failed",
            ("topic", "partition"),
        )
        self.retries_total = self._counter(
            "retries_total", "retries after transient failures, by cause", ("operation", "reason")
        )
        self.regressions_total = self._counter(
            "regressions_total", "facts missing in a later document; counted and kept, not applied", ("feed",)
        )
        self.parked_rows = self._gauge("parked_rows", "rows that wait for their parent row", ("table",))

    def _define_services(self) -> None:
        self.fetch_requests_total = self._counter(
            "fetch_requests_total",
            "requests to a source by result: document, unchanged, not published, failed (retried), refused",
            ("source", "status"),
        )
        self.model_info = self._gauge("model_info", "1 for the model in use", ("version",))
        self.prediction_duration_seconds = self._histogram(
            "prediction_duration_seconds", "time to predict one batch, including its features", (), DURATION_S
        )
        self.prediction_log_loss = self._gauge(
            "prediction_log_loss", "mean log-loss of the last settled events, in nats", ("head", "model")
        )
        self.prediction_base_log_loss = self._gauge(
            "prediction_base_log_loss", "log-loss of the base rate on the same events, in nats", ("head", "model")
        )
        self.prediction_calibration_error = self._gauge(
            "prediction_calibration_error",
            "expected calibration error on the same events, over all slots (`all`) or the most probable one (`top`)",
            ("head", "model", "of"),
        )
        self.model_behind_base_rate = self._gauge(
            "model_behind_base_rate",
            "1 while a model's log-loss is above the base rate's with 95 % confidence",
            ("head", "model"),
        )
        self.feature_drift_index = self._gauge(
            "feature_drift_index",
            "population stability index of recent input against the training set, for the ten most drifted features",
            ("feature",),
        )
        self.feature_group_drift_index = self._gauge(
            "feature_group_drift_index",
            "mean population stability index of a feature group: card, observation, history",
            ("group",),
        )
        self.notifications_total = self._counter(
            "notifications_total", "messages by channel and outcome: sent, failed, parked", ("channel", "outcome")
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
        self.definitions.append(MetricDefinition(f"{PREFIX}_{name}", kind, tuple(labels), meaning))


def markdown_table(metrics: Metrics) -> str:
    """The Markdown table of docs/metrics.md."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in metrics.definitions
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows, ""])
