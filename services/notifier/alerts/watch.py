"""Evaluates the alerts about the pipeline every 5 s, and stores what opens and what ends.

Each replica of the notifier evaluates, one at a time: the transaction holds an advisory lock. So no replica has to take
over the durations that another one has measured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

import structlog

from services.notifier.alerts import postgres_incidents as storage
from services.notifier.alerts.alert_rules import AlertRule
from services.notifier.alerts.evaluator import CLEAR_S, AlertEvaluator, IncidentChanges
from services.notifier.alerts.incidents import Incident
from services.notifier.alerts.postgres_reading import read_pipeline
from services.notifier.alerts.timers import IncidentKey
from services.notifier.rules.rule_book import RuleBook
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError

INTERVAL_S = 5.0
# A process that is suspended within a transaction would keep the lock.
_SETTINGS = {"idle_in_transaction_session_timeout": "15s"}

log = structlog.get_logger("notifier.alerts")


class AlertWatch:
    """A background task of the notifier. It needs the database only, so it works while the broker is unavailable."""

    def __init__(
        self,
        conninfo: str,
        rules: Callable[[], Sequence[AlertRule]],
        book: Callable[[], RuleBook],
        editing: Collection[str],
        clear_s: float = CLEAR_S,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`rules`, `book`: return the current rules, and their templates.

        `editing`: the kinds of channels that edit messages that were sent.
        """
        self._link = ReconnectingConnection(conninfo, "notifier alerts", autocommit=True, settings=_SETTINGS)
        self._rules = rules
        self._book = book
        self._editing = frozenset(editing)
        self._evaluator = AlertEvaluator(clear_s)
        self._interval_s = interval_s

    def run(self, stop: threading.Event) -> None:
        """Evaluate until `stop` is set. While the database is unavailable, tries again at the next time."""
        is_away = False
        while not stop.wait(self._interval_s):
            try:
                with self._link.use() as connection:
                    self.step(connection)
                is_away = False
            except TransientError as error:
                if not is_away:
                    log.warning("alert_evaluation_failed", cause=str(error))
                is_away = True
            except Exception:  # what a replica reports must not end the notifier
                if not is_away:
                    log.exception("alert_evaluation_failed")
                is_away = True
        self._link.drop()

    def step(self, connection: DbConnection) -> bool:
        """Evaluate once. Returns False if another evaluation is at work. `connection` is in autocommit mode."""
        with connection.transaction():
            if not storage.try_lock(connection):
                return False
            reading, rules = read_pipeline(connection), self._rules()
            incidents = storage.open_incidents(connection)
            kinds = {key: incident.kind for key, incident in incidents.items()}
            changes = self._evaluator.evaluate(reading, rules, kinds)
            for key, condition in changes.continuing.items():
                storage.refresh_incident(connection, incidents[key], condition, reading.at)
            opened, resolved = self._store(connection, changes, rules, incidents)
        for incident in opened:
            log.warning("incident_opened", **_about(incident))
        for incident in resolved:
            log.info("incident_resolved", **_about(incident))
        return True

    def _store(
        self,
        connection: DbConnection,
        changes: IncidentChanges,
        rules: Sequence[AlertRule],
        incidents: dict[IncidentKey, Incident],
    ) -> tuple[list[Incident], list[Incident]]:
        """The incidents that were opened and resolved."""
        addresses, book = {rule.name: rule.addresses for rule in rules}, self._book()
        opened = [
            storage.open_incident(connection, key.rule, condition, addresses[key.rule], book)
            for key, condition in changes.opening.items()
        ]
        resolved = [storage.resolve_incident(connection, incidents[key], self._editing, book) for key in changes.ending]
        return [incident for incident in opened if incident is not None], resolved


def _about(incident: Incident) -> dict[str, object]:
    return {"id": incident.id, "rule": incident.rule, "subject": incident.subject}
