"""Creates the broker that the settings name. The only module that depends on both implementations."""

from __future__ import annotations

from shared.broker.contract import Broker
from shared.broker.postgres.broker import PostgresBroker
from shared.retry import Retry
from shared.settings.sections import Settings


def connect(settings: Settings, conninfo: str, readiness_retry: Retry | None = None) -> Broker:
    """The broker that `broker.url` names. `conninfo` is the database that holds the embedded log or, with Kafka, the
    positions and the outbox of the services that write rows. `readiness_retry` is how to wait for a Kafka that is not
    ready yet; None: as briefly as a service does."""
    if settings.broker.address is None:
        return PostgresBroker(conninfo)
    from shared.broker.kafka.broker import KafkaBroker  # noqa: PLC0415  # loaded only if Kafka is used

    return KafkaBroker(settings.broker.url, settings.kafka, conninfo, readiness_retry=readiness_retry)
