"""Checks that a database is used with the kind of broker that it was used with before."""

from __future__ import annotations

from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.settings.sections import BrokerSettings


def require_same_kind(connection: DbConnection, broker: BrokerSettings, *, accept_new: bool) -> None:
    """Store the kind of broker, or compare it with the stored one. Raises ConfigError if it differs, unless a new one
    is accepted: on another broker no record and no cursor exists, so everything would be fetched again."""
    kind = "kafka" if broker.address else "embedded"
    row = connection.execute("SELECT kind FROM broker.kind").fetchone()
    if row is not None and row[0] != kind and not accept_new:
        former = "the embedded broker" if row[0] == "embedded" else "Kafka"
        raise ConfigError(
            f"this database is used with {former}, and broker.url names {broker.url!r}: set it as before"
            f" (HEADRACE_BROKER__URL), or change the broker for good and fetch everything again: headrace migrate"
            f" --new-broker"
        )
    connection.execute(
        "INSERT INTO broker.kind (kind) VALUES (%s) ON CONFLICT (only_row) DO UPDATE SET kind = excluded.kind"
        " WHERE kind.kind <> excluded.kind",
        (kind,),
    )
