"""Which broker: the one place that knows both."""

from __future__ import annotations

from shared.broker.contract import Broker
from shared.broker.postgres_broker import PostgresBroker
from shared.errors import ConfigError


def connect(url: str, conninfo: str) -> Broker:
    """The broker that `broker.url` names. `conninfo`: the database that holds the embedded log."""
    if url == "embedded":
        return PostgresBroker(conninfo)
    if url.startswith("kafka://"):
        raise ConfigError(
            f"broker.url {url!r}: this version has the embedded broker only; set broker.url to 'embedded'"
        )
    raise ConfigError(f"broker.url: expected 'embedded', got {url!r}")
