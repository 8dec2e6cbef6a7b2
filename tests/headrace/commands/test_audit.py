"""The window of `headrace audit`: days or times."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from headrace.audit.window import AuditWindow
from headrace.commands.audit import audit_window
from shared.errors import ConfigError
from shared.events import as_utc_ms


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
