"""Retry-After in seconds and as a date, from servers with any clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.gate.retry_after import retry_after_s

NOW = datetime(2031, 5, 4, 12, 0, 0, tzinfo=UTC)


def http_date(at: datetime) -> str:
    return format_datetime(at, usegmt=True)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("7", 7), (" 120 ", 120), ("604800", 604800)])
def test_seconds(text: str, seconds: float) -> None:
    assert retry_after_s(text, None, NOW) == seconds


def test_a_date_counts_from_the_time_of_the_server() -> None:
    server_now = NOW - timedelta(days=1)

    assert retry_after_s(http_date(server_now + timedelta(seconds=90)), http_date(server_now), NOW) == 90


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_date_counts_from_the_own_time_if_that_of_the_server_is_unknown(date: str | None) -> None:
    assert retry_after_s(http_date(NOW + timedelta(seconds=90)), date, NOW) == 90


def test_a_date_in_the_past_is_no_wait() -> None:
    assert retry_after_s(http_date(NOW - timedelta(days=1)), http_date(NOW), NOW) == 0


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "1.5", "١٢", "Sun, 99 May 2031 12:00:00 GMT", "0x10"])
def test_anything_else_is_no_retry_after(text: str | None) -> None:
    assert retry_after_s(text, None, NOW) is None


def test_a_number_of_thousands_of_digits_is_a_long_time() -> None:
    assert retry_after_s("9" * 100_000, None, NOW) == 1e12


@given(st.text(), st.none() | st.text())
def test_no_text_raises(text: str, date: str | None) -> None:
    seconds = retry_after_s(text, date, NOW)

    assert seconds is None or seconds >= 0


@given(st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,12} [A-Z][a-z]{2} [0-9]{1,12} [0-9:+ -]{0,20}[A-Z]{0,3}\Z"))
def test_no_text_like_a_date_raises(text: str) -> None:
    retry_after_s(text, text, NOW)
