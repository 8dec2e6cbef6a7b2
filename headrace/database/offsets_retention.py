"""Compares how long Kafka keeps the offsets of a stopped service with how long it keeps the records."""

from __future__ import annotations

from collections.abc import Sequence

from shared.broker.contract import Broker
from shared.topics import DAY_S, TopicSpec


def warning_of_offsets_retention(broker: Broker, specs: Sequence[TopicSpec]) -> str | None:
    """What to set on Kafka if the offsets expire before the records of a topic, else None.

    No error: Kafka's default is shorter than the retention of the topics, and a service whose offsets have expired is
    held back instead of reading records twice.
    """
    offsets_s = broker.offsets_retention_s()
    read_by_groups = [spec for spec in specs if not spec.compacted and spec.retention_s is not None]
    longest = max(read_by_groups, key=lambda spec: spec.retention_s or 0.0)
    if offsets_s is None or longest.retention_s is None or offsets_s >= longest.retention_s:
        return None
    return (
        f"Kafka forgets the offsets of a stopped service after {offsets_s / DAY_S:g} days, but topic {longest.name!r}"
        f" keeps its records for {longest.retention_s / DAY_S:g} days. A service that was stopped for longer will be"
        f" held back until `headrace resume --accept-loss`. To prevent this, set offsets.retention.minutes"
        f" (KAFKA_OFFSETS_RETENTION_MINUTES) of each Kafka node to {longest.retention_s / 60:.0f} or more"
    )
