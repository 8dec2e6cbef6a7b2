"""Composes the texts of recorded summaries, each about many events (a day, a called-off session).

The handler records a summary without a text when a batch shows that it is due. It is composed here, from one snapshot,
when all records that existed at that time are loaded (quiescence.py). The text therefore does not depend on how the
loaders shared the work, or on crashes meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import date

import structlog

from services.notifier.findings.digest import digest_of
from services.notifier.findings.event_content import content_of
from services.notifier.findings.finding import Daily, Finding
from services.notifier.findings.rules import (
    DAILY_BEST,
    SelectedFinding,
    called_off_findings,
    is_day_complete,
    markets_of,
)
from services.notifier.notify import text_of
from services.notifier.pacing import DeliveryPolicy
from services.notifier.rules.rule_book import NamedRule, RuleBook
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_facts import day_rows, read_sessions
from services.notifier.storage.postgres_ledger import PendingSummary
from services.notifier.summaries.quiescence import PipelineDrain
from shared.broker.contract import Broker
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import BrokerError, TransientError
from shared.runtime.loops.backoff import LOOP_BACKOFF

log = structlog.get_logger("notifier.summaries")


class SummaryComposer:
    """`connect` returns a connection in autocommit mode and `broker` a broker, both for this thread alone."""

    def __init__(
        self,
        connect: Callable[[], ReconnectingConnection],
        broker: Callable[[], Broker],
        rules: Callable[[], RuleBook],
        delivery_policy: DeliveryPolicy,
        max_wait_s: float,
    ) -> None:
        """`rules` returns the current rules.

        `max_wait_s`: maximum wait for records that are not loaded yet, in real seconds; then the text omits them."""
        self._connect = connect
        self._make_broker = broker
        self._rules = rules
        self._delivery_policy = delivery_policy
        self._max_wait_s = max_wait_s
        self._pending: list[PendingSummary] = []
        self._drain: PipelineDrain | None = None
        self._waiting_since_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Compose until `stop` is set. Waits while the database or the broker is in trouble."""
        link, broker, failures = self._connect(), self._make_broker(), 0
        try:
            while not stop.is_set():
                try:
                    with link.use() as connection:
                        wait_s = self.step(connection, broker)
                    failures = 0
                except (TransientError, BrokerError) as error:
                    failures += 1
                    wait_s = LOOP_BACKOFF.delay_s(failures)
                    log.warning("summaries_delayed", error=type(error).__name__, cause=str(error))
                stop.wait(wait_s)
        finally:
            link.drop()
            broker.close()

    def step(self, connection: DbConnection, broker: Broker) -> float:
        """Compose the due summaries if their records are loaded; returns the wait before the next step, in seconds.

        `connection` is in autocommit mode.
        """
        if self._drain is None:
            self._pending = ledger.pending_summaries(connection)
            if not self._pending:
                return self._delivery_policy.poll_s
            self._drain, self._waiting_since_s = PipelineDrain(broker), time.monotonic()
        if not self._drain.is_drained() and time.monotonic() - self._waiting_since_s < self._max_wait_s:
            return self._delivery_policy.poll_s
        book = self._rules()
        for record_id in dict.fromkeys(summary.record_id for summary in self._pending):
            self._compose(connection, book, [each for each in self._pending if each.record_id == record_id])
        self._drain = None
        return 0.0

    def _compose(self, connection: DbConnection, book: RuleBook, summaries: Sequence[PendingSummary]) -> None:
        """Compose the summaries of one subject, for all rules: either all get a text, or those that do not apply wait.

        So a day that was summarized by one rule need not be counted again for another one.
        """
        with connection.transaction():
            # All queries read one snapshot, so a unit that a loader commits meanwhile is included as a whole or not.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            findings = [(summary, self._finding(connection, book, summary)) for summary in summaries]
        with connection.transaction():
            for summary, finding in findings:
                if finding is None:
                    ledger.discard_summary(connection, summary)
                else:
                    text = text_of(SelectedFinding(summary.rule, finding), book)
                    ledger.write_text(connection, summary, text, content_of(finding))

    def _finding(self, connection: DbConnection, book: RuleBook, summary: PendingSummary) -> Finding | None:
        """None if the summary no longer applies, or not yet, because new events of the day have not ended."""
        rule = book.rule(summary.rule)
        if rule is None:
            log.warning("summary_discarded", rule=summary.rule, subject=summary.event_key, reason="no such rule")
            return None
        return read_summary(connection, rule, summary.event_key)


def read_summary(connection: DbConnection, rule: NamedRule, subject: str) -> Finding | None:
    """The finding of a rule about a session or a day; None if the rule does not apply to the current rows."""
    if rule.rule.finding == "called-off":
        sessions = read_sessions(connection, [subject])
        return next((finding for each in sessions.values() for finding in called_off_findings(each, rule)), None)
    source, _, day = subject.rpartition(":")
    rows = day_rows(connection, source, date.fromisoformat(day), markets_of(rule.rule))
    if not is_day_complete(rows.statuses):
        return None
    return Daily(digest_of(source, date.fromisoformat(day), rows, DAILY_BEST))
