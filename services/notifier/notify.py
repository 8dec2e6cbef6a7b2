"""The notifier's batch handler: records findings in the ledger, from which delivery/sender.py sends them.

A finding about one event is recorded with its text. A summary of many events is recorded without;
postgres_summaries.py composes the text later. The same batch may be handled twice: the ledger keeps the first row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.notifier.findings.finding import Daily, Finding, daily_id, day_key, finding_id, subject_of
from services.notifier.findings.rules import (
    Candidates,
    Rules,
    called_off_findings,
    find_candidates,
    is_day_complete,
    result_findings,
    tip_findings,
)
from services.notifier.storage.postgres_facts import day_statuses, read_events, read_sessions
from services.notifier.storage.postgres_ledger import (
    NewNotification,
    NewSummary,
    record_notifications,
    record_summaries,
    recorded,
)
from services.notifier.texts.message import render
from shared.broker.contract import NewRecord
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.ops.tables.replays import revisions_to_notify
from shared.records import LIVE, DecodedRecord


class Notifier:
    """`clock` is the time of the events, which may be virtual. It decides what is history and what has started."""

    def __init__(self, channels: Sequence[str], clock: Clock, rules: Rules) -> None:
        self._channels = list(channels)
        self._clock = clock
        self._rules = rules

    def handle(self, batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        """Record the batch's findings in the ledger. Returns no records."""
        replayed = sorted({received.revision for received in batch} - {LIVE})
        announced_revisions = revisions_to_notify(connection, replayed) if replayed else frozenset[str]()
        batch_candidates = find_candidates(batch, self._clock.now(), self._rules, announced_revisions)
        if batch_candidates:
            notifications = [notification_of(finding) for finding in self._event_findings(batch_candidates, connection)]
            record_notifications(connection, notifications, self._channels)
            record_summaries(connection, self._due_summaries(batch_candidates, connection), self._channels)
        return []

    def _event_findings(self, batch_candidates: Candidates, connection: DbConnection) -> Iterable[Finding]:
        for key, event in read_events(connection, batch_candidates.event_keys, self._rules.payout_market).items():
            yield from tip_findings(batch_candidates.tip_predictions.get(key, []), event)
            if key in batch_candidates.settled_events:
                yield from result_findings(event, self._rules)

    def _due_summaries(self, batch_candidates: Candidates, connection: DbConnection) -> Iterable[NewSummary]:
        """The summaries to record, without text. Days whose summary has a text already are skipped before their events
        are counted, because counting takes longer."""
        for session in read_sessions(connection, list(batch_candidates.cancelled_sessions)).values():
            for finding in called_off_findings(session):
                yield NewSummary(finding_id(finding), finding.rule, subject_of(finding))
        recorded_ids = recorded(connection, [daily_id(source, day) for source, day in batch_candidates.ended_days])
        for source, day in batch_candidates.ended_days:
            if daily_id(source, day) not in recorded_ids and is_day_complete(day_statuses(connection, source, day)):
                yield NewSummary(daily_id(source, day), Daily.rule, day_key(source, day))


def notification_of(finding: Finding) -> NewNotification:
    return NewNotification(finding_id(finding), finding.rule, subject_of(finding), render(finding))
