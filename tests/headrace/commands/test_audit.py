"""`headrace audit`: its window of days or times, and its stored result."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from headrace.audit.accounting import CLASSES
from headrace.audit.window import AuditWindow
from headrace.commands.audit import audit_window
from headrace.database.access import Access
from shared.errors import ConfigError
from shared.events import as_utc_ms
from shared.ops.tables import audit_results
from tests.headrace.commands.conftest import Headrace


def test_days_and_times_become_a_window() -> None:
    noon_ms = as_utc_ms(datetime(2026, 1, 31, 12, tzinfo=UTC))

    assert audit_window("2026-01-30", "2026-01-31") == AuditWindow(date(2026, 1, 30), date(2026, 1, 31))
    assert audit_window("2026-01-31T12:00:00Z", None) == AuditWindow(from_ms=noon_ms)
    assert audit_window(None, None) == AuditWindow()


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("yesterday", None, "--from yesterday: expected a day"),
        ("2026-01-31T12:00:00", None, "name the time zone"),
        ("2026-01-31", "2026-01-30", "is before --from"),
        ("2026-01-31", "2026-01-31T12:00:00Z", "two days, or two times"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z", "is not after"),
    ],
)
def test_an_invalid_window_is_refused(first: str, last: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        audit_window(first, last)


def test_with_record_the_counts_are_stored_and_without_it_nothing_is(headrace: Headrace, access: Access) -> None:
    """The events of the filled directory were never records, so the audit finds faults."""
    code, _, _ = headrace("audit", "--no-archive")
    with access.connect() as connection:
        before = audit_results.newest(connection)
    recorded_code, output, _ = headrace("audit", "--no-archive", "--record", "--output", "json")

    report = json.loads(output)
    with access.connect() as connection:
        result = audit_results.newest(connection)
    assert code == recorded_code
    assert before is None
    assert result is not None
    assert result.fates.keys() == set(CLASSES)
    assert result.findings["missing"] == report["missing"]
    assert result.findings["rows differ"] == report["rows_differ"]
    assert result.findings.keys() == {"missing", "twice", "rows differ", "hole", "unarchived"}
