"""Measures facts for the metrics: parked records, started events with and without a prediction, the last audit and the
last quality report."""

from __future__ import annotations

from services.loader.parking import FACT_KINDS, PREDICTION
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.ops.tables import audit_results, quality_results
from shared.runtime.measurements import GaugeRows, Measurement
from shared.runtime.metrics import Metrics

_PARKED = "SELECT kind, count(*) FROM facts.parked GROUP BY kind"
_INSTALLED = "SELECT min(applied_at) FROM ops.migrations"
# Only a prediction that is no shadow's counts. An event that was listed after its start cannot be predicted.
_STARTED = """
SELECT CASE WHEN EXISTS (SELECT FROM facts.predictions p WHERE p.event_id = e.id AND NOT p.shadow) THEN 'yes'
            ELSE 'no' END, count(*)
FROM facts.events e
WHERE e.scheduled_at > %(now)s - interval '1 hour' AND e.scheduled_at <= %(now)s
  AND e.listed_at < e.scheduled_at AND e.status NOT IN ('cancelled', 'void')
GROUP BY 1"""


def loader_measurements(metrics: Metrics, clock: Clock) -> list[Measurement]:
    return [
        measure_parked(metrics),
        measure_started_events(metrics, clock),
        measure_audit(metrics),
        measure_quality(metrics),
    ]


def measure_parked(metrics: Metrics) -> Measurement:
    rows = GaugeRows(metrics.parked_rows)

    def parked(connection: DbConnection) -> None:
        counts = dict(connection.execute(_PARKED).fetchall())
        rows.replace({(kind,): counts.get(kind, 0) for kind in (*FACT_KINDS[1:], PREDICTION, *counts)})

    return parked


def measure_started_events(metrics: Metrics, clock: Clock) -> Measurement:
    """By the service's clock, which may be virtual, like the events."""
    rows = GaugeRows(metrics.started_events)

    def started_events(connection: DbConnection) -> None:
        counts = dict(connection.execute(_STARTED, {"now": clock.now()}).fetchall())
        rows.replace({(each,): counts.get(each, 0) for each in ("yes", "no")})

    return started_events


def measure_audit(metrics: Metrics) -> Measurement:
    """The last result that `headrace audit --record` stored, and the time of the installation."""
    fates, findings = GaugeRows(metrics.audit_records), GaugeRows(metrics.audit_findings)

    def audit(connection: DbConnection) -> None:
        result = audit_results.newest(connection)
        if result is not None:
            fates.replace({(fate,): count for fate, count in result.fates.items()})
            findings.replace({(kind,): count for kind, count in result.findings.items()})
            metrics.audit_timestamp_seconds.set(result.at.timestamp())
        # After the audit's time: without that, the alert about an overdue audit takes this one.
        (installed_at,) = connection.execute(_INSTALLED).fetchone() or (None,)
        if installed_at is not None:
            metrics.installed_timestamp_seconds.set(installed_at.timestamp())

    return audit


def measure_quality(metrics: Metrics) -> Measurement:
    """The last result that `headrace quality --record` stored."""
    findings = GaugeRows(metrics.quality_findings)

    def quality(connection: DbConnection) -> None:
        result = quality_results.newest(connection)
        if result is not None:
            findings.replace({(threshold,): count for threshold, count in result.broken.items()})
            metrics.quality_timestamp_seconds.set(result.at.timestamp())

    return quality
