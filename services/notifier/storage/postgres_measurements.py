"""Measures the notifications that wait in the ledger, for the metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from services.notifier.addresses import kind_of
from services.notifier.pacing import RateLimit
from services.notifier.storage.postgres_sending_hold import closed_addresses
from shared.database.connection import DbConnection
from shared.runtime.measurements import GaugeRows, Measurement
from shared.runtime.metrics import Metrics

STATES = ("pending", "sending", "unknown", "composing")
# Each branch uses a partial index. A summary that was discarded is due at `infinity`. A notification that was never
# attempted and is due later is held by its rule, so it is not late before.
_WAITING = """
SELECT channel, state, count(*),
       extract(epoch FROM clock_timestamp() - min(CASE WHEN attempts = 0 THEN greatest(created_at, due_at)
                                                       ELSE created_at END))::double precision
FROM notifier.ledger WHERE state IN ('pending', 'sending') AND text IS NOT NULL GROUP BY channel, state
UNION ALL
SELECT channel, 'unknown', count(*), 0 FROM notifier.ledger WHERE state = 'unknown' GROUP BY channel
UNION ALL
SELECT channel, 'composing', count(*), 0 FROM notifier.ledger WHERE text IS NULL AND due_at < 'infinity'
GROUP BY channel
"""


def no_pace(_address: str) -> RateLimit | None:
    return None


def measure_waiting(
    metrics: Metrics, kinds: Sequence[str], pace_of: Callable[[str], RateLimit | None] = no_pace
) -> Measurement:
    """`kinds`: the channels in use, which have a value even if nothing waits. `pace_of`: the pace of an address; a
    notification may wait for it and is late only after that. What waits for a closed address is not late."""
    counts, ages = GaugeRows(metrics.notifications_waiting), GaugeRows(metrics.notifications_oldest_age_seconds)
    closed_counts = GaugeRows(metrics.notification_addresses_closed)

    def waiting(connection: DbConnection) -> None:
        by_state: defaultdict[tuple[str, ...], float] = defaultdict(float)
        oldest: defaultdict[tuple[str, ...], float] = defaultdict(float)
        by_state.update({(each, state): 0 for each in kinds for state in STATES})
        oldest.update({(each,): 0.0 for each in kinds})
        closed = set(closed_addresses(connection))
        by_kind = Counter(map(kind_of, closed))
        closed_counts.replace({(each,): by_kind[each] for each in {*kinds, *by_kind}})
        for address, state, count, age_s in connection.execute(_WAITING).fetchall():
            kind, pace = kind_of(address), pace_of(address)
            by_state[kind, state] += count
            if address not in closed:
                oldest[kind,] = max(oldest[kind,], age_s - (0 if pace is None else 1 / pace.per_s))
        counts.replace(by_state)
        ages.replace(oldest)

    return waiting
