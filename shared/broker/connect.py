"""Which broker: the one place that knows both."""

from __future__ import annotations

from shared.broker.contract import Broker
from shared.broker.postgres_broker import PostgresBroker
from shared.errors import ConfigError
from shared.settings import Settings


def connect(settings: Settings, conninfo: str) -> Broker:
    """The broker that `broker.url` names. `conninfo`: the database that holds the embedded log, or the outbox."""
    if settings.broker.url == "embedded":
        return PostgresBroker(conninfo)
    raise ConfigError(f"broker.url {settings.broker.url!r}: this version has the embedded broker only")
