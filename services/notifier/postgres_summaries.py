"""Composes what the ledger has noted without a text: summaries of many events (of a day, of a session called off).

They are noted, once, in the unit that shows that there is something to sum up, and composed here when all that was
under way then is in the tables (quiescence.py), from one snapshot. So the text does not depend on how the
loaders shared the work, nor on who died meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date

import psycopg
import structlog

from services.notifier import postgres_ledger as ledger
from services.notifier.digest import digest_of
from services.notifier.findings import CalledOff, Daily, Finding
from services.notifier.message import render
from services.notifier.pacing import Delivery
from services.notifier.postgres_facts import day_rows, session_facts
from services.notifier.postgres_ledger import Unwritten
from services.notifier.quiescence import Tide
from services.notifier.rules import Rules, called_off, is_over
from shared.broker.contract import Broker
from shared.database.connection import DbConnection
from shared.errors import BrokerError, TransientError

log = structlog.get_logger("notifier.summaries")


class Summaries:
    """`connect` gives a new connection each time, `broker` one that no other thread uses."""

    def __init__(
        self,
        connect: Callable[[], DbConnection],
        broker: Callable[[], Broker],
        rules: Rules,
        delivery: Delivery,
        patience_s: float,
    ) -> None:
        """`patience_s`: how long a summary waits for what is under way, in real seconds; then it goes without."""
        self._connect = connect
        self._make_broker = broker
        self._rules = rules
        self._delivery = delivery
        self._patience_s = patience_s
        self._waiting: list[Unwritten] = []
        self._tide: Tide | None = None
        self._since_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Compose until `stop` is set. A database or broker that is away is waited for."""
        broker, losses = self._make_broker(), 0
        try:
            while not stop.is_set():
                try:
                    with self._connect() as connection:
                        while not stop.is_set():
                            stop.wait(self.step(connection, broker))
                            losses = 0
                except (psycopg.OperationalError, TransientError, BrokerError) as error:
                    losses += 1
                    log.warning("database or broker away", error=type(error).__name__)
                    stop.wait(self._delivery.backoff_s(losses))
        finally:
            broker.close()

    def step(self, connection: DbConnection, broker: Broker) -> float:
        """Look once, compose what may be composed; returns how long to wait before the next step, in seconds.

        `connection` is in autocommit mode.
        """
        if self._tide is None:
            self._waiting = ledger.unwritten(connection)
            if not self._waiting:
                return self._delivery.poll_s
            self._tide, self._since_s = Tide(broker), time.monotonic()
        if not self._tide.is_out() and time.monotonic() - self._since_s < self._patience_s:
            return self._delivery.poll_s
        for note in self._waiting:
            self._compose(connection, note)
        self._tide = None
        return 0.0

    def _compose(self, connection: DbConnection, note: Unwritten) -> None:
        with connection.transaction():
            # One state of the tables for all queries: a unit of a loader that commits in between is in it or not.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            finding = self._finding(connection, note)
        if finding is None:
            ledger.shelve(connection, note)
        else:
            ledger.write(connection, note, render(finding))

    def _finding(self, connection: DbConnection, note: Unwritten) -> Finding | None:
        """None where there is nothing to sum up any more, or not yet: more has come that is not over."""
        if note.rule == CalledOff.rule:
            sessions = session_facts(connection, [note.event_key])
            return next((found for each in sessions.values() for found in called_off(each)), None)
        source, _, day = note.event_key.rpartition(":")
        rows = day_rows(connection, source, date.fromisoformat(day), self._rules.payout_market)
        if not is_over(rows.statuses):
            return None
        return Daily(digest_of(source, date.fromisoformat(day), rows, self._rules.daily_best))
