"""Defines the metrics that describe stored state: rows, orders, operations, disks, connections.

Every replica that can read a state reports it (shared/runtime/measurements.py), so queries take the maximum over
replicas. A metric without labels is 0 before its first measurement.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.runtime.metric_registry import MetricRegistry

USE_MAX = "every replica reports it: use `max`"


class StateMetrics(MetricRegistry):
    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(registry)
        self._define_control()
        self._define_storage()
        self._define_rows()

    def _define_control(self) -> None:
        self.measured_timestamp_seconds = self._gauge(
            "measured_timestamp_seconds", "Unix time of the last successful measurement of stored state by this replica"
        )
        self.order_age_seconds = self._gauge(
            "order_age_seconds",
            f"age of the newest order of a topic, `desired` is running or paused; {USE_MAX}",
            ("topic", "desired"),
        )
        self.operations_open = self._gauge(
            "operations_open",
            f"operations that have not ended, by kind and state: waiting, running, paused; {USE_MAX}",
            ("kind", "state"),
        )
        self.operation_idle_seconds = self._gauge(
            "operation_idle_seconds",
            "time since the progress of an open operation last changed, the longest of its kind, without paused"
            " operations; a replica knows only the time since its own start: use `max`",
            ("kind",),
        )
        self.audit_records = self._gauge(
            "audit_records",
            "records by fate in the last audit with `--record`: loaded, superseded, parked, dead, filtered, in flight,"
            f" missing; {USE_MAX}",
            ("fate",),
        )
        self.audit_findings = self._gauge(
            "audit_findings",
            f"findings of the last audit with `--record`: missing, twice, rows differ, hole, unarchived; {USE_MAX}",
            ("kind",),
        )
        self.audit_timestamp_seconds = self._gauge(
            "audit_timestamp_seconds", f"Unix time of the last audit with `--record`, 0 if there is none; {USE_MAX}"
        )

        self.quality_findings = self._gauge(
            "quality_findings",
            f"values that break each threshold in the last quality report with `--record`; {USE_MAX}",
            ("threshold",),
        )
        self.quality_timestamp_seconds = self._gauge(
            "quality_timestamp_seconds",
            f"Unix time of the last quality report with `--record`, 0 if there is none; {USE_MAX}",
        )

        self.installed_timestamp_seconds = self._gauge(
            "installed_timestamp_seconds", f"Unix time of the first migration of the database; {USE_MAX}"
        )

    def _define_storage(self) -> None:
        self.database_connections = self._gauge(
            "database_connections", f"connections to the database server, all databases; {USE_MAX}"
        )
        self.database_connections_limit = self._gauge(
            "database_connections_limit", f"connections that the database server allows to services; {USE_MAX}"
        )
        self.database_size_bytes = self._gauge("database_size_bytes", f"size of the database; {USE_MAX}")
        self.retention_lag_seconds = self._gauge(
            "retention_lag_seconds",
            "for how long the oldest row of a table, or the oldest batch of a topic of the embedded log, should have"
            f" been deleted; 0 if none is due; {USE_MAX}",
            ("what",),
        )
        self.background_stall_seconds = self._gauge(
            "background_stall_seconds",
            "for how long a background task has neither moved nor waited for its next turn",
            ("task",),
        )
        self.disk_free_bytes = self._gauge(
            "disk_free_bytes",
            "free space of the disk with the data directory; services on one machine report the same disk: use `min`",
        )
        self.disk_size_bytes = self._gauge("disk_size_bytes", f"size of the disk with the data directory; {USE_MAX}")
        self.outbox_records = self._gauge(
            "outbox_records", f"records in the database that are not relayed to Kafka yet; {USE_MAX}", ("topic",)
        )
        self.outbox_age_seconds = self._gauge(
            "outbox_age_seconds", f"age of the oldest record that is not relayed yet; {USE_MAX}", ("topic",)
        )
        self.unread_removed_offsets = self._gauge(
            "unread_removed_offsets",
            "offsets that retention removed before the service handled them; on Kafka some of them may be markers of"
            f" transactions, which are no records; {USE_MAX}",
            ("topic",),
        )

    def _define_rows(self) -> None:
        self.fetch_windows = self._gauge(
            "fetch_windows",
            "windows of the active fetcher by state: due, done, failed, missing (no document), suspect (its"
            " document may be incomplete, or the answer was not its document); not while it is paused",
            ("source", "state"),
        )
        self.fetch_changed_windows = self._gauge(
            "fetch_changed_windows",
            "windows of the active fetcher whose final document changed when it was fetched again; not while it is"
            " paused",
            ("source",),
        )
        self.fetch_document_expected = self._gauge(
            "fetch_document_expected",
            "1 while the active fetcher follows the current day, 0 otherwise; not while it is paused",
            ("source",),
        )
        self.fetch_breaker_open = self._gauge(
            "fetch_breaker_open",
            "1 while the fetcher makes no request to a host, or one to try, because too many failed in a row;"
            f" {USE_MAX}",
            ("host",),
        )
        self.parked_rows = self._gauge(
            "parked_rows", f"facts and predictions that wait until their event is listed, by kind; {USE_MAX}", ("kind",)
        )
        self.started_events = self._gauge(
            "started_events",
            "events that started in the last hour and were listed before, by `predicted`: yes, no; without cancelled"
            f" events; {USE_MAX}",
            ("predicted",),
        )
        self.notifications_waiting = self._gauge(
            "notifications_waiting",
            "notifications by state: pending, sending, unknown (perhaps sent; an operator decides), composing (a"
            f" summary without a text); {USE_MAX}",
            ("channel", "state"),
        )
        self.notifications_oldest_age_seconds = self._gauge(
            "notifications_oldest_age_seconds",
            "time since the oldest unsent notification was recorded, or since the time until which its rule held it,"
            f" without the wait for the channel's pace; 0 if there is none; {USE_MAX}",
            ("channel",),
        )
