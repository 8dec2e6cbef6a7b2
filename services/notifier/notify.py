"""The notifier's batch handler: records findings in the ledger, from which delivery/sender.py sends them.

A finding about one event is recorded with its text. A summary of many events is recorded without;
postgres_summaries.py composes the text later. Each rule that selects a finding has rows of its own, one for each of its
addresses. The same batch may be handled twice: the ledger keeps the first row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import structlog

from services.notifier.findings.event_content import content_of
from services.notifier.findings.finding import Daily, Digest, Finding, daily_id, finding_id, subject_of
from services.notifier.findings.outcomes import tip_outcomes
from services.notifier.findings.rules import (
    Candidates,
    SelectedFinding,
    called_off_findings,
    collect_predictions,
    daily_rules,
    event_findings,
    event_markets,
    find_candidates,
    is_day_complete,
)
from services.notifier.findings.variables import variables_of
from services.notifier.rules.rule_book import RuleBook
from services.notifier.storage.postgres_edits import show_outcomes
from services.notifier.storage.postgres_facts import day_statuses, read_events, read_sessions, stored_predictions
from services.notifier.storage.postgres_ledger import (
    NewNotification,
    NewSummary,
    record_notifications,
    record_summaries,
    recorded,
)
from shared.broker.contract import NewRecord
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.ops.tables.replays import revisions_to_notify
from shared.records import LIVE, DecodedRecord

Subscribers = Callable[[DbConnection, str, Finding], Sequence[str]]
"""Returns further addresses for a finding of the rule with this name. A daily finding has no figures yet."""

log = structlog.get_logger("notifier.notify")


def no_subscribers(_connection: DbConnection, _rule: str, _finding: Finding) -> Sequence[str]:
    return ()


class Notifier:
    """`clock` is the time of the events, which may be virtual. It decides what is history and what has started.

    `channels` are the addresses of rules that name none. `rules` returns the current rules.
    """

    def __init__(
        self,
        channels: Sequence[str],
        clock: Clock,
        rules: Callable[[], RuleBook],
        subscribers: Subscribers = no_subscribers,
        editing: Collection[str] = (),
    ) -> None:
        """`editing`: kinds of channels that can edit messages; there, a tip shows how it came out."""
        self._channels = list(channels)
        self._clock = clock
        self._rules = rules
        self._subscribers = subscribers
        self._editing = frozenset(editing)

    def handle(self, batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        """Record the batch's findings in the ledger. Returns no records."""
        book = self._rules()
        replayed = sorted({received.revision for received in batch} - {LIVE})
        announced_revisions = revisions_to_notify(connection, replayed) if replayed else frozenset[str]()
        now = self._clock.now()
        candidates = find_candidates(batch, now, book, announced_revisions)
        if candidates.listed_events:
            # Predictions are in another topic, and a database that went back meets them before their events.
            waited = stored_predictions(connection, list(candidates.listed_events))
            collect_predictions(waited, now, book, candidates)
        if candidates:
            self._record_findings(connection, book, read_findings(candidates, connection, book))
            self._record_summaries(connection, book, read_summaries(candidates, connection, book))
            if self._editing and candidates.settled_events:
                settled = read_events(connection, list(candidates.settled_events), ())
                show_outcomes(connection, self._editing, tip_outcomes(settled.values()))
        return []

    def _record_findings(
        self, connection: DbConnection, book: RuleBook, selected_findings: Iterable[SelectedFinding]
    ) -> None:
        by_addresses: dict[tuple[str, ...], list[NewNotification]] = defaultdict(list)
        for selected in selected_findings:
            addresses = self._addresses(connection, book, selected)
            by_addresses[addresses].append(notification_of(selected, book))
        for addresses, notifications in by_addresses.items():
            record_notifications(connection, notifications, addresses)

    def _record_summaries(
        self, connection: DbConnection, book: RuleBook, selected_findings: Iterable[SelectedFinding]
    ) -> None:
        by_addresses: dict[tuple[str, ...], list[NewSummary]] = defaultdict(list)
        for selected in selected_findings:
            finding = selected.finding
            summary = NewSummary(finding_id(finding), selected.rule, subject_of(finding))
            by_addresses[self._addresses(connection, book, selected)].append(summary)
        # Concurrent notifiers may insert the same rows, so all insert them in the same order.
        for addresses, summaries in sorted(by_addresses.items()):
            record_summaries(connection, summaries, addresses)

    def _addresses(self, connection: DbConnection, book: RuleBook, selected: SelectedFinding) -> tuple[str, ...]:
        extra_addresses = self._subscribers(connection, selected.rule, selected.finding)
        return tuple(dict.fromkeys([*book.addresses(selected.rule, self._channels), *extra_addresses]))


def read_findings(candidates: Candidates, connection: DbConnection, book: RuleBook) -> Iterator[SelectedFinding]:
    """What the rules select of the candidates' events, by their current rows."""
    for key, event in read_events(connection, candidates.event_keys, event_markets(book)).items():
        predictions = candidates.tip_predictions.get(key, [])
        yield from event_findings(event, predictions, key in candidates.settled_events, book)


def read_summaries(candidates: Candidates, connection: DbConnection, book: RuleBook) -> Iterator[SelectedFinding]:
    """The summaries that are due by the current rows, without the figures of days.

    Days whose summary has a text already are skipped before their events are counted, because counting takes longer.
    """
    for session in read_sessions(connection, list(candidates.cancelled_sessions)).values():
        for rule in book.rules_of("called-off"):
            yield from (SelectedFinding(rule.name, finding) for finding in called_off_findings(session, rule))
    days = {day: rules for day in candidates.ended_days if (rules := daily_rules(day[0], book))}
    recorded_ids = recorded(connection, [daily_id(*day) for day in days])
    for (source, day), rules in days.items():
        if daily_id(source, day) in recorded_ids:
            continue
        statuses = day_statuses(connection, source, day)
        if is_day_complete(statuses):
            yield from (SelectedFinding(rule.name, Daily(Digest(source, day, statuses))) for rule in rules)


def notification_of(selected: SelectedFinding, book: RuleBook) -> NewNotification:
    """The notification of a finding, with its text."""
    rule, finding = selected
    text = text_of(selected, book)
    expires_s = book.expires_s(rule)
    return NewNotification(finding_id(finding), rule, subject_of(finding), text, content_of(finding), expires_s)


def text_of(selected: SelectedFinding, book: RuleBook) -> str:
    """The finding's text by its rule. A template that fails is logged, and the default one is used."""
    rule, finding = selected
    rendering = book.text_of(rule, finding.kind, variables_of(finding))
    if rendering.error is not None:
        log.warning("template_failed", rule=rule, subject=subject_of(finding), error=rendering.error)
    return rendering.text
