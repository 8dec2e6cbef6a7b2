"""Gives the admin app's endpoints the service's state, database connections and a broker.

The connections and the broker belong to the admin app: endpoints run in threads beside the loop and never touch the
loop's consumer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any, Protocol

from fastapi import APIRouter

from shared.broker.contract import Broker
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import ConfigError, TransientError
from shared.ops.tables import tokens as tokens_table
from shared.runtime.api.token_lookup import DatedToken
from shared.settings.sections import ServiceSettings

# Requests take milliseconds, so a few connections are enough; all replicas of five services share one database.
CONNECTIONS = 4
# A request that waited this long for a connection or the broker gets 503 with Retry-After.
WAIT_S = 5.0


class ServiceView(Protocol):
    """The state that a loop exposes. Called from other threads than the loop's: return values, not live objects."""

    def alive(self) -> bool:
        """Tells whether the loop ticked within its last few intervals, regardless of its dependencies."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Tells whether the loop can work (dependencies reachable, partitions assigned), and if not, why."""
        ...

    def status(self) -> dict[str, Any]:
        """The fields of `ServiceStatus`: `service`, `replica`, `state` and the dict `detail`."""
        ...

    def lag(self, *, thorough: bool = False) -> list[dict[str, Any]]:
        """One dict per partition, with the fields of lag.PartitionLag. `thorough`: take the time to count exactly.

        May raise TransientError.
        """
        ...


class AdminContext:
    """The service's state, connections and broker, for all endpoints.

    `pausable_topics` are the topics that the service can pause. `routers` build the service's own endpoints below /v1.
    `table_prefix` is that of the broker's tables (shared/broker/contract.py). Connections open at first use, so that a
    service starts while the database is unavailable.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        view: ServiceView,
        *,
        pausable_topics: Sequence[str] = (),
        table_prefix: str = "",
        routers: Sequence[Callable[[AdminContext], APIRouter]] = (),
        open_broker: Callable[[], Broker] | None = None,
    ) -> None:
        self.service = settings.name
        self.settings = settings
        self.view = view
        self.pausable_topics = tuple(pausable_topics)
        self.table_prefix = table_prefix
        self.routers = tuple(routers)
        self._open_broker = open_broker
        self._broker: Broker | None = None
        self._broker_lock = threading.Lock()
        name = f"{settings.name}, admin"
        conninfo = settings.database.conninfo()
        self._links = [ReconnectingConnection(conninfo, name, autocommit=True) for _ in range(CONNECTIONS)]
        self._free: LifoQueue[ReconnectingConnection] = (
            LifoQueue()
        )  # last in, first out: the connection used last is already open
        for link in self._links:
            self._free.put(link)
        # For requests that are not authenticated yet, so that they take no connection from those that are.
        self._token_link = ReconnectingConnection(conninfo, f"{settings.name}, tokens", autocommit=True)

    @contextmanager
    def transaction(self) -> Iterator[DbConnection]:
        """A transaction on one of the admin app's connections: commits at the end, rolls back on any error.

        Never nest transactions: four callers that do so would wait for each other. Raises TransientError if the
        database is unavailable or all connections are busy.
        """
        try:
            link = self._free.get(timeout=WAIT_S)
        except Empty:
            raise TransientError("all database connections of the admin app are busy; try again") from None
        try:
            with link.use() as connection, connection.transaction():
                yield connection
        finally:
            self._free.put(link)

    def find_tokens(self, token_ids: Collection[str]) -> dict[str, DatedToken]:
        """The tokens with these ids, by id. For one caller at a time. Raises TransientError."""
        with self._token_link.use() as connection:
            return {token.id: DatedToken(token, now) for token, now in tokens_table.find(connection, token_ids)}

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        """The admin app's broker, for one caller at a time. Raises TransientError if it is busy or unavailable."""
        if not self._broker_lock.acquire(timeout=WAIT_S):
            raise TransientError("another request reads the log; try again")
        try:
            if self._broker is None:
                if self._open_broker is None:
                    raise ConfigError("this admin app has no broker")
                self._broker = self._open_broker()
            yield self._broker
        finally:
            self._broker_lock.release()

    def close(self) -> None:
        """Closes the connections and the broker. Call after the last request."""
        for link in (*self._links, self._token_link):
            link.drop()
        if self._broker is not None:
            self._broker.close()
            self._broker = None
