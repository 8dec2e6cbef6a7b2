"""Composes the texts of recorded summaries, each about many events (a day, a called-off session).

The handler records a summary without a text when a batch shows that it is due. It is composed here, from one snapshot,
when all records that existed at that time are loaded (quiescence.py). The text therefore does not depend on how the
loaders shared the work, or on crashes meanwhile.
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
    """`connect` returns a new connection at each call, `broker` a broker that no other thread uses."""

    def __init__(
        self,
        connect: Callable[[], DbConnection],
        broker: Callable[[], Broker],
        rules: Rules,
        delivery: Delivery,
        patience_s: float,
    ) -> None:
        """`max_wait_s`: maximum wait for records that are not loaded yet, in real seconds; then the text omits them."""
        self._connect = connect
        self._make_broker = broker
        self._rules = rules
        self._delivery = delivery
        self._patience_s = patience_s
        self._waiting: list[Unwritten] = []
        self._tide: Tide | None = None
        self._since_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Compose until `stop` is set. Reconnects, with back-off, when the database or the broker is lost."""
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
                    log.warning("summaries_connection_lost", error=type(error).__name__)
                    stop.wait(self._delivery.backoff_s(losses))
        finally:
            broker.close()

    def step(self, connection: DbConnection, broker: Broker) -> float:
        """Compose the due summaries if their records are loaded; returns the wait before the next step, in seconds.

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
            # All queries read one snapshot, so a unit that a loader commits meanwhile is included as a whole or not.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            finding = self._finding(connection, note)
        if finding is None:
            ledger.shelve(connection, note)
        else:
            ledger.write(connection, note, render(finding))

    def _finding(self, connection: DbConnection, note: Unwritten) -> Finding | None:
        """None if the summary no longer applies, or not yet, because new events of the day have not ended."""
        if note.rule == CalledOff.rule:
            sessions = session_facts(connection, [note.event_key])
            return next((found for each in sessions.values() for found in called_off(each)), None)
        source, _, day = note.event_key.rpartition(":")
        rows = day_rows(connection, source, date.fromisoformat(day), self._rules.payout_market)
        if not is_over(rows.statuses):
            return None
        return Daily(digest_of(source, date.fromisoformat(day), rows, self._rules.daily_best))
