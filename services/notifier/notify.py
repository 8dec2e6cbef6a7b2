"""The notifier's batch handler: records findings in the ledger, from which sender.py sends them.

A finding about one event is recorded with its text. A summary of many events is recorded without;
postgres_summaries.py composes the text later. The same batch may be handled twice: the ledger keeps the first row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.notifier.findings import Daily, Finding, daily_id, day_key, finding_id, subject_of
from services.notifier.message import render
from services.notifier.postgres_facts import day_statuses, event_facts, session_facts
from services.notifier.postgres_ledger import Note, Summary, record, record_summaries, written
from services.notifier.rules import Candidates, Rules, called_off, candidates, is_over, results, tips
from shared.broker.contract import NewRecord
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.ops.tables.replays import to_be_told
from shared.records import LIVE, Received


class Notifier:
    """`clock` is the time of the events, which may be virtual. It decides what is history and what has started."""

    def __init__(self, channels: Sequence[str], clock: Clock, rules: Rules) -> None:
        self._channels = list(channels)
        self._clock = clock
        self._rules = rules

    def handle(self, batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
        """Record the batch's findings in the ledger. Returns no records."""
        replayed = sorted({received.revision for received in batch} - {LIVE})
        told = to_be_told(connection, replayed) if replayed else frozenset[str]()
        found = candidates(batch, self._clock.now(), self._rules, told)
        if found:
            notes = [note_of(finding) for finding in self._of_events(found, connection)]
            record(connection, notes, self._channels)
            record_summaries(connection, self._summaries(found, connection), self._channels)
        return []

    def _of_events(self, found: Candidates, connection: DbConnection) -> Iterable[Finding]:
        for key, event in event_facts(connection, found.event_keys, self._rules.payout_market).items():
            yield from tips(found.tips.get(key, []), event)
            if key in found.settled:
                yield from results(event, self._rules)

    def _summaries(self, found: Candidates, connection: DbConnection) -> Iterable[Summary]:
        """The summaries to record, without text. Days whose summary has a text already are skipped before their events
        are counted, because counting takes longer."""
        for session in session_facts(connection, list(found.cancelled)).values():
            for finding in called_off(session):
                yield Summary(finding_id(finding), finding.rule, subject_of(finding))
        known = written(connection, [daily_id(source, day) for source, day in found.days])
        for source, day in found.days:
            if daily_id(source, day) not in known and is_over(day_statuses(connection, source, day)):
                yield Summary(daily_id(source, day), Daily.rule, day_key(source, day))


def note_of(finding: Finding) -> Note:
    return Note(finding_id(finding), finding.rule, subject_of(finding), render(finding))
