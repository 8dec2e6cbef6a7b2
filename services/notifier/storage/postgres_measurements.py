"""Measures the notifications that wait in the ledger, for the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from shared.database.connection import DbConnection
from shared.runtime.measurements import GaugeRows, Measurement
from shared.runtime.metrics import Metrics

STATES = ("pending", "sending", "unknown", "composing")
# Each branch uses a partial index. A summary that was discarded is due at `infinity`.
_WAITING = """
SELECT channel, state, count(*), extract(epoch FROM clock_timestamp() - min(created_at))::double precision
FROM notifier.ledger WHERE state IN ('pending', 'sending') AND text IS NOT NULL GROUP BY channel, state
UNION ALL
SELECT channel, 'unknown', count(*), 0 FROM notifier.ledger WHERE state = 'unknown' GROUP BY channel
UNION ALL
SELECT channel, 'composing', count(*), 0 FROM notifier.ledger WHERE text IS NULL AND due_at < 'infinity'
GROUP BY channel
"""


def measure_waiting(metrics: Metrics, channels: Sequence[str]) -> Measurement:
    """`channels`: those of the settings, which have a value even if nothing waits."""
    counts, ages = GaugeRows(metrics.notifications_waiting), GaugeRows(metrics.notifications_oldest_age_seconds)

    def waiting(connection: DbConnection) -> None:
        by_state: dict[tuple[str, ...], float] = {(each, state): 0 for each in channels for state in STATES}
        oldest: dict[tuple[str, ...], float] = {(each,): 0.0 for each in channels}
        for channel, state, count, age_s in connection.execute(_WAITING).fetchall():
            by_state[channel, state] = count
            oldest[channel,] = max(oldest.get((channel,), 0.0), age_s)
        counts.replace(by_state)
        ages.replace(oldest)

    return waiting
