"""Defines all metrics of Headrace: name, kind, labels and meaning. docs/metrics.md is generated from them.

Label values are bounded: topics, partitions, stages, outcomes, names of error classes. A key or an id is never a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.runtime.state_metrics import StateMetrics

# From a small unit (a few ms) to a stuck one (10 to 30 s: the stop grace period, a lease).
DURATION_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
UNIT_OUTCOMES = ("committed", "aborted", "fenced", "unknown")
# The objective of freshness is one of the limits.
FRESH_FACT_S = 60.0
FACT_AGE_S = (1.0, 5.0, 15.0, 30.0, FRESH_FACT_S, 120.0, 300.0, 900.0, 3600.0)
# Discord waits for 3 s.
FIRST_ANSWER_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
SIZE_RECORDS = (1, 5, 10, 50, 100, 250, 500, 1000, 2000, 5000)


class Metrics(StateMetrics):
    """The metrics of one process, in their own registry. An attribute is the metric's name without the prefix.

    The metrics here count events and times of this process; those of StateMetrics describe what is stored.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(registry)
        self._define_flow()
        self._define_trouble()
        self._define_services()
        self._define_notifications()

    def count_request(self, method: str, route: str, status: int) -> None:
        self.admin_requests_total.labels(method, route, status).inc()
        self.count_response(str(status))

    def count_response(self, status: str) -> None:
        self.http_requests_total.labels(status).inc()

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
        self.live_fact_age_seconds = self._histogram(
            "live_fact_age_seconds",
            "time from the fetch of a live document to the row of a fact in it, in real seconds; without replays,"
            " redriven records and documents of past days",
            (),
            FACT_AGE_S,
        )
        self.last_success_timestamp_seconds = self._gauge(
            "last_success_timestamp_seconds", "Unix time of the last committed unit"
        )
        self.units_total = self._counter("units_total", f"units by outcome: {', '.join(UNIT_OUTCOMES)}", ("outcome",))
        for outcome in UNIT_OUTCOMES:  # a counter that appears with its first failure would hide it from `increase`
            self.units_total.labels(outcome)
        self.rebalances_total = self._counter("rebalances_total", "changes of the set of owned partitions")
        self.build_info = self._gauge(
            "build_info", "always 1; the labels identify the running software", ("service", "version", "python")
        )

    def _define_trouble(self) -> None:
        self.ready = self._gauge(
            "ready", "1 while the service can work: the answer of `/readyz`; a paused service is ready"
        )
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
            "1 while the partition is held back until an operator decides, by kind: breaker (too many of its records"
            " failed), damaged (stored records cannot be decoded), lost (records are gone)",
            ("topic", "partition", "kind"),
        )
        self.records_skipped_total = self._counter(
            "records_skipped_total",
            "offsets of records that could not be decoded and that an operator has skipped",
            ("service", "topic", "partition"),
        )
        self.records_lost_total = self._counter(
            "records_lost_total",
            "records that were gone before the service read them: the offsets that they took, which is an upper bound,"
            " or 1 if their number is unknown; the partition is held back until the loss is accepted",
            ("service", "topic", "partition"),
        )
        self.outbox_restarts_total = self._counter(
            "outbox_restarts_total",
            "times that the relay copied all waiting records of an outbox again, because its cursor in Kafka is not one"
            " of this state of the database",
            ("topic",),
        )
        self.retries_total = self._counter(
            "retries_total", "retries after transient failures, by cause", ("operation", "reason")
        )
        self.regressions_total = self._counter(
            "regressions_total", "facts missing in a later document; counted and kept, not applied", ("feed",)
        )
        self._define_requests()

    def _define_requests(self) -> None:
        self.admin_requests_total = self._counter(
            "admin_requests_total",
            "requests to the admin API by method, template of the route and status; without a route, for example"
            " because the token was refused, the template is `/v1` or `none`",
            ("method", "route", "status"),
        )
        self.http_requests_total = self._counter(
            "http_requests_total",
            "responses of the HTTP server by status, with those that no route sees: 400, 408, 431, 503; `closed`:"
            " connections that it closed without a response, for example because of too many",
            ("status",),
        )

    def _define_services(self) -> None:
        self._define_fetching()
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

    def _define_fetching(self) -> None:
        self.fetch_requests_total = self._counter(
            "fetch_requests_total",
            "requests to a source by result: document, unchanged, not published, failed (retried), refused",
            ("source", "status"),
        )
        self.fetch_refusals_total = self._counter(
            "fetch_refusals_total",
            "refused responses of a source by reason: address, block page, body, header, other day, redirect, size,"
            " status, type; date counts times of publication (Last-Modified) that cannot be true",
            ("source", "reason"),
        )
        self.fetch_last_document_timestamp_seconds = self._gauge(
            "fetch_last_document_timestamp_seconds",
            "Unix time of the newest document from the source; the start of the process until the first one",
            ("source",),
        )
        self.fetch_wait_seconds = self._gauge(
            "fetch_wait_seconds",
            "seconds until this replica may make the next request to its source, by what it waits for: budget,"
            " retry-after (the server asked for it), breaker (too many requests failed), database (the gate's state"
            " is unavailable); 0 if it waits for nothing",
            ("reason",),
        )
        self.fetch_waits_total = self._counter(
            "fetch_waits_total", "times that a request to a source had to wait or was put back, by reason", ("reason",)
        )

    def _define_notifications(self) -> None:
        self.notifications_total = self._counter(
            "notifications_total",
            "attempts to send by channel and outcome: sent, failed, retried, unknown, expired (not sent any more)",
            ("channel", "outcome"),
        )
        self.notifications_held = self._gauge(
            "notifications_held",
            "1 while no message is sent because the ledger went back to an earlier state; an operator releases them",
        )
        self.notification_addresses_closed = self._gauge(
            "notification_addresses_closed",
            "addresses that accept no message, by channel: what waits for them is sent when an operator opens them or"
            " a trial succeeds",
            ("channel",),
        )
        self.notification_rules_loaded = self._gauge(
            "notification_rules_loaded", "rules of the last valid rule file, which are in use"
        )
        self.notification_rules_load_errors_total = self._counter(
            "notification_rules_load_errors_total",
            "changes of the rule file that were refused because it is not valid; the rules before stay in use",
        )
        self.bot_connected = self._gauge(
            "bot_connected",
            "1 while this replica is the Discord bot and its session is ready; 0 on all others, and without a bot",
        )
        self.bot_interactions_total = self._counter(
            "bot_interactions_total",
            "commands and buttons of people by result: answered, refused (not allowed, or too many), failed (an error"
            " was shown, or nothing)",
            ("result",),
        )
        self.bot_first_answer_seconds = self._histogram(
            "bot_first_answer_seconds",
            "time from a command or button to the first answer that Discord accepted; Discord waits for 3 s",
            (),
            FIRST_ANSWER_S,
        )


def markdown_table(metrics: Metrics) -> str:
    """The Markdown table of docs/metrics.md."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in metrics.definitions
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows, ""])
