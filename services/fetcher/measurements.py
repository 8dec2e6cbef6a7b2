"""Publishes the fetcher's windows by state, whether it follows the current day, and the breakers of its gates."""

from __future__ import annotations

from services.fetcher.archive.source import ArchivedSource
from services.fetcher.fetch import Fetcher
from services.fetcher.gate.postgres_gate import gates
from services.fetcher.planning.windows import FetchPlan, day_at
from services.fetcher.sources.declaration import Source
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.runtime.measurements import GaugeRows, Measurement
from shared.runtime.metrics import Metrics


def measure_windows(
    source: Source, plan: FetchPlan, pollable: Fetcher | ArchivedSource, clock: Clock, metrics: Metrics
) -> Measurement:
    """Only the replica that fetches has values. Its counts are of the last step, so no window is counted here."""
    states, expected = GaugeRows(metrics.fetch_windows), GaugeRows(metrics.fetch_document_expected)
    changed = GaugeRows(metrics.fetch_changed_windows)

    def windows(_connection: object) -> None:
        if not pollable.is_active:
            states.replace({})
            expected.replace({})
            changed.replace({})
            return
        states.replace({(source.name, state): count for state, count in pollable.status()["windows"].items()})
        follows = plan.follow and plan.includes_today(day_at(clock.now(), source.zone))
        expected.replace({(source.name,): follows})
        changed.replace({(source.name,): pollable.changed_count} if isinstance(pollable, Fetcher) else {})

    return windows


def measure_gates(metrics: Metrics) -> Measurement:
    """Every replica measures the gates of all hosts, which the replicas share."""
    is_open = GaugeRows(metrics.fetch_breaker_open)

    def breakers(connection: DbConnection) -> None:
        is_open.replace({(gate.host,): gate.state.breaker.state != "closed" for gate in gates(connection)})

    return breakers
