"""What an audit is asked for: days, or instants."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from headrace.audit.window import AuditWindow, audit_window
from shared.errors import ConfigError
from shared.events import as_utc_ms

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_days_are_inclusive_and_base_data_belongs_to_all() -> None:
    window = audit_window("2026-01-30", "2026-01-31")

    assert window == AuditWindow(date(2026, 1, 30), date(2026, 1, 31))
    keys = (
        "b:2026-01-29:01:01",
        "b:2026-01-30:01:01",
        "b:2026-01-31:01:01",
        "b:2026-02-01:01:01",
        "b:reference:venues",
    )
    assert [window.has_key(key) for key in keys] == [False, True, True, False, True]


def test_an_instant_ends_before_its_to() -> None:
    window = audit_window(NOON.isoformat(), "2026-01-31T13:00:00Z")
    noon_ms = as_utc_ms(NOON)

    assert [window.has_time(noon_ms + ms) for ms in (-1, 0, 3_599_999, 3_600_000)] == [False, True, True, False]
    assert window.has_key("b:2020-01-01:01:01")


def test_nothing_asked_for_is_everything() -> None:
    assert audit_window(None, None).is_everything
    assert audit_window(None, None).has_time(None)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("yesterday", None, "--from yesterday: expected a day"),
        ("2026-01-31T12:00:00", None, "name the time zone"),
        ("2026-01-31", "2026-01-30", "is before --from"),
        ("2026-01-31", "2026-01-31T12:00:00Z", "two days, or two instants"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z", "is not after"),
    ],
)
def test_a_window_that_cannot_be_is_refused(first: str, last: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        audit_window(first, last)
