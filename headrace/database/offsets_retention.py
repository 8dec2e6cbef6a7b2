"""Requires that Kafka keeps the offsets of stopped services as long as the records that they have not read."""

from __future__ import annotations

from collections.abc import Sequence

from shared.broker.contract import Broker
from shared.errors import ConfigError
from shared.topics import DAY_S, TopicSpec


def require_offsets_retention(broker: Broker, specs: Sequence[TopicSpec]) -> None:
    """Raises ConfigError if the offsets expire before the records of a topic. A service that was stopped for longer
    would be held back, although its records are there."""
    offsets_s = broker.offsets_retention_s()
    longest = max((spec for spec in specs if spec.retention_s is not None), key=lambda spec: spec.retention_s or 0.0)
    if offsets_s is None or longest.retention_s is None or offsets_s >= longest.retention_s:
        return
    raise ConfigError(
        f"Kafka forgets the offsets of a stopped service after {offsets_s / DAY_S:g} days, but topic {longest.name!r}"
        f" keeps its records for {longest.retention_s / DAY_S:g} days: set offsets.retention.minutes"
        f" (KAFKA_OFFSETS_RETENTION_MINUTES) of each Kafka node to {longest.retention_s / 60:.0f} or more"
    )
