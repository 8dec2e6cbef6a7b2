"""Which rows are deleted when they are old, and who deletes them. docs/operations.md has the whole list of tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from shared.settings.sections import RetentionSettings
from shared.topics import JOB_CURSORS

# A settled dead letter must be known for as long as its topic has the letter, which is 90 days.
MIN_SETTLED_DAYS = 100
_FINISHED_AT = "(SELECT o.finished_at FROM ops.operations o WHERE o.id = {key})"
_JOB_TOPICS = f"('{JOB_CURSORS}', 'kafka:{JOB_CURSORS}')"


class AgedRows(NamedTuple):
    """Rows of a table that a service deletes: those that are older than `retention` and meet the condition.
    `at` and `condition` are SQL, in which the row is `aged`; a row without a time stays."""

    table: str
    at: str
    retention: timedelta
    condition: str = "true"


def operation_rows(settings: RetentionSettings) -> Sequence[AgedRows]:
    """What the loader deletes, for all services."""
    processes, operations = timedelta(days=settings.processes_days), timedelta(days=settings.operations_days)
    letters = timedelta(days=settings.dead_letters_days)
    return [
        # Long before their operations, which tell that a cursor and a producer are not needed any more.
        AgedRows(
            "broker.cursors",
            _FINISHED_AT.format(key="aged.key"),
            processes,
            f"aged.topic_id IN (SELECT id FROM broker.topics WHERE name IN {_JOB_TOPICS})",
        ),
        AgedRows("broker.slots", _FINISHED_AT.format(key="substr(aged.name, 5)"), processes, "aged.name ~ '^job-'"),
        AgedRows("broker.members", "alive_until", processes),
        AgedRows("broker.leases", "lease_until", processes),
        AgedRows("ops.replicas", "seen_at", processes),
        AgedRows(
            "ops.observed",
            "seen_at",
            processes,
            "NOT EXISTS (SELECT FROM ops.replicas r WHERE r.service = aged.service AND r.replica = aged.replica)",
        ),
        AgedRows("ops.slots", "lease_until", processes),
        AgedRows("ops.operations", "finished_at", operations),
        AgedRows("ops.dead_letters_settled", "settled_at", max(letters, timedelta(days=MIN_SETTLED_DAYS))),
        AgedRows("facts.dead_letters", "failed_at", letters),
    ]


def message_rows(settings: RetentionSettings) -> Sequence[AgedRows]:
    """What the notifier deletes. Messages that are to be sent, or that wait for an operator, stay."""
    retention = timedelta(days=settings.messages_days)
    return [
        AgedRows(
            "notifier.ledger", "created_at", retention, "state IN ('sent', 'failed', 'expired') AND text IS NOT NULL"
        ),
        AgedRows("notifier.incidents", "resolved_at", retention),
        AgedRows("notifier.mutes", "coalesce(ended_at, until)", retention),
    ]


def gate_rows(settings: RetentionSettings) -> Sequence[AgedRows]:
    """What the fetcher deletes: gates of hosts that are not asked any more."""
    return [AgedRows("fetcher.gates", "changed_at", timedelta(days=settings.operations_days))]
