"""Creates the broker that the settings name. The only module that depends on both implementations."""

from __future__ import annotations

from shared.broker.contract import Broker
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import TIMEOUTS, Timeouts
from shared.retry import Retry
from shared.settings.sections import DatabaseSettings, Settings


def connect(settings: Settings, conninfo: str, readiness_retry: Retry | None = None) -> Broker:
    """The broker that `broker.url` names. `conninfo` is the database that holds the embedded log or, with Kafka, the
    positions and the outbox of the services that write rows. `readiness_retry` is how to wait for a Kafka that is not
    ready yet; None: as briefly as a service does."""
    if settings.broker.address is None:
        return PostgresBroker(conninfo, timeouts_of(settings.database))
    from shared.broker.kafka.broker import KafkaBroker  # noqa: PLC0415  # loaded only if Kafka is used

    timeouts = timeouts_of(settings.database)
    return KafkaBroker(settings.broker.url, settings.kafka, conninfo, timeouts, readiness_retry=readiness_retry)


def timeouts_of(database: DatabaseSettings | None) -> Timeouts:
    """The time-outs that the settings name; None: a command without settings of its database uses the defaults."""
    if database is None:
        return TIMEOUTS
    return Timeouts(
        stopped_unit_s=database.idle_in_transaction_timeout_s,
        answer_s=database.statement_timeout_s,
        unit_s=database.batch_timeout_s,
    )
