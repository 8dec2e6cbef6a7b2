"""Which broker: the one place that knows both."""

from __future__ import annotations

from shared.broker.contract import Broker
from shared.broker.postgres.broker import PostgresBroker
from shared.retry import Retry
from shared.settings.sections import Settings


def connect(settings: Settings, conninfo: str, ready: Retry | None = None) -> Broker:
    """The broker that `broker.url` names. `conninfo`: the database that holds the embedded log, or, beside Kafka, the
    positions and the outbox of the services that write rows. `ready`: how to wait for one that is not
    ready yet; None: as a service does."""
    if settings.broker.address is None:
        return PostgresBroker(conninfo)
    from shared.broker.kafka.broker import KafkaBroker  # noqa: PLC0415  # who does not use it does not load it

    return KafkaBroker(settings.broker.url, settings.kafka, conninfo, ready=ready)
