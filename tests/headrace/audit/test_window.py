"""The window of an audit: days or times."""

from __future__ import annotations

from datetime import UTC, date, datetime

from headrace.audit.window import AuditWindow
from shared.events import as_utc_ms

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_days_are_inclusive_and_reference_data_belongs_to_all() -> None:
    window = AuditWindow(date(2026, 1, 30), date(2026, 1, 31))

    keys = (
        "b:2026-01-29:01:01",
        "b:2026-01-30:01:01",
        "b:2026-01-31:01:01",
        "b:2026-02-01:01:01",
        "b:reference:venues",
    )
    assert [window.has_key(key) for key in keys] == [False, True, True, False, True]


def test_a_window_of_times_excludes_its_end() -> None:
    noon_ms = as_utc_ms(NOON)
    window = AuditWindow(from_ms=noon_ms, to_ms=noon_ms + 3_600_000)

    assert [window.has_time(noon_ms + ms) for ms in (-1, 0, 3_599_999, 3_600_000)] == [False, True, True, False]
    assert window.has_key("b:2020-01-01:01:01")


def test_an_empty_window_is_everything() -> None:
    assert AuditWindow().is_everything
    assert AuditWindow().has_time(None)
