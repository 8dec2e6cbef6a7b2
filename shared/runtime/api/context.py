"""Where the admin app's endpoints get what they work with: the service's view, database lines and a broker.

All of it is the desk's own: endpoints run in threads beside the loop and never touch the loop's consumer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any, Protocol

from fastapi import APIRouter

from shared.broker.contract import Broker
from shared.database.connection import DbConnection, Link
from shared.errors import ConfigError, TransientError
from shared.settings.sections import ServiceSettings

# Answers take milliseconds, so a few lines serve many callers; five services with their replicas share one database.
LINES = 4
# A caller who waited so long for a line or the broker is told to come again.
WAIT_S = 5.0


class ServiceView(Protocol):
    """What a loop shows of itself. Called from other threads than the loop's: give values, not live objects."""

    def alive(self) -> bool:
        """Whether the loop has ticked within a few of its intervals, whatever its dependencies do."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether it can do its work (dependencies reachable, partitions assigned), and if not, why."""
        ...

    def status(self) -> dict[str, Any]:
        """`service`, `replica`, `state` (as `Status` says) and `detail`, a dict."""
        ...

    def lag(self, *, thorough: bool = False) -> list[dict[str, Any]]:
        """One dict a partition, as lag.PartitionLag; `thorough` where somebody asked. May raise TransientError."""
        ...


class Desk:
    """`steers`: the topics that the service can be paused on; `routers`: make the service's own, below /v1;
    `table_prefix`: of the broker (shared/broker/contract.py).

    Opens nothing before it is needed, so that a service starts while the database is away.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        view: ServiceView,
        *,
        steers: Sequence[str] = (),
        table_prefix: str = "",
        routers: Sequence[Callable[[Desk], APIRouter]] = (),
        open_broker: Callable[[], Broker] | None = None,
    ) -> None:
        self.service = settings.name
        self.settings = settings
        self.view = view
        self.steers = tuple(steers)
        self.table_prefix = table_prefix
        self.routers = tuple(routers)
        self._open_broker = open_broker
        self._broker: Broker | None = None
        self._broker_lock = threading.Lock()
        name = f"{settings.name}, admin"
        conninfo = settings.database.conninfo()
        self._links = [Link(conninfo, name, autocommit=True) for _ in range(LINES)]
        self._free: LifoQueue[Link] = LifoQueue()  # the line that was used last is the one that is open
        for link in self._links:
            self._free.put(link)

    @contextmanager
    def transaction(self) -> Iterator[DbConnection]:
        """A transaction on a line of the desk's own: committed at the end, rolled back by any error.

        Never ask for a second one inside it (four callers who do so wait for each other). Raises TransientError: the
        database is away, or all lines are busy.
        """
        try:
            link = self._free.get(timeout=WAIT_S)
        except Empty:
            raise TransientError("the service answers too many requests at once; try again") from None
        try:
            with link.use() as connection, connection.transaction():
                yield connection
        finally:
            self._free.put(link)

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        """The desk's own broker, for one caller at a time. Raises TransientError: it is busy or away."""
        if not self._broker_lock.acquire(timeout=WAIT_S):
            raise TransientError("another request reads the log; try again")
        try:
            if self._broker is None:
                if self._open_broker is None:
                    raise ConfigError("this admin app was made without a broker")
                self._broker = self._open_broker()
            yield self._broker
        finally:
            self._broker_lock.release()

    def close(self) -> None:
        """After the last request."""
        for link in self._links:
            link.drop()
        if self._broker is not None:
            self._broker.close()
            self._broker = None
