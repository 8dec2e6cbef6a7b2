"""Measures stored state for the metrics every 15 s, in a thread and on a database connection of its own.

All replicas of a service measure, so that a metric does not depend on one of them. While the database is unavailable,
the metrics keep their last values, and `headrace_measured_timestamp_seconds` does not advance.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psycopg
import structlog
from prometheus_client import Gauge

from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import HeadraceError
from shared.runtime.metrics import Metrics

# The scrape interval of deploy/prometheus.
INTERVAL_S = 15.0

Measurement = Callable[[DbConnection], None]
"""Reads a state and sets its gauges. May raise errors of the database and HeadraceError."""

log = structlog.get_logger(__name__)


class Measurements:
    """A background task of a service (exit_codes.Background). A measurement that fails does not prevent the others."""

    def __init__(
        self,
        conninfo: str,
        service: str,
        metrics: Metrics,
        measurements: Sequence[Measurement],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._link = ReconnectingConnection(conninfo, f"{service} metrics", autocommit=True)
        self._metrics = metrics
        self._measurements = measurements
        self._interval_s = interval_s
        self._failing: set[int] = set()

    def __call__(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.measure()
            stop.wait(self._interval_s)
        self.close()

    def close(self) -> None:
        self._link.drop()

    def measure(self) -> None:
        succeeded = [self._try(number, each) for number, each in enumerate(self._measurements)]
        if all(succeeded):
            self._metrics.measured_timestamp_seconds.set(time.time())

    def _try(self, number: int, measurement: Measurement) -> bool:
        """Whether the measurement succeeded. Only the first of its failures in a row is logged."""
        try:
            with self._link.use() as connection:
                measurement(connection)
        except (HeadraceError, psycopg.Error, OSError) as error:
            if number not in self._failing:
                log.warning("measurement_failed", measurement=_name_of(measurement), cause=str(error).strip())
            self._failing.add(number)
            return False
        self._failing.discard(number)
        return True


class GaugeRows:
    """A gauge with labels whose values are replaced as a whole. For one thread."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._labels: set[tuple[str, ...]] = set()

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Set the values by labels, then remove the others: a scrape in between sees no gap."""
        for labels, value in values.items():
            self._gauge.labels(*labels).set(value)
        for labels in self._labels - values.keys():
            self._gauge.remove(*labels)
        self._labels = set(values)


def _name_of(measurement: Measurement) -> str:
    return getattr(measurement, "__qualname__", type(measurement).__qualname__)
