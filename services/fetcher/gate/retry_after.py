"""Reads the header field Retry-After (RFC 9110, section 10.2.3): seconds, or an HTTP date."""

from __future__ import annotations

from datetime import datetime

from services.fetcher.http.headers import http_date

# More digits are not a time that anybody means, and int() of thousands of digits is slow.
MAX_DIGITS = 12


def retry_after_s(text: str | None, date: str | None, now: datetime) -> float | None:
    """For how many seconds the server asks not to be requested; None if the field is missing or invalid.

    A date is compared with the time of the server, its header field `date`, so that a wrong clock of this machine
    matters only if that field is missing or invalid: then it is compared with `now`.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:MAX_DIGITS]) if len(text) <= MAX_DIGITS else float(10**MAX_DIGITS)
    until = http_date(text)
    return None if until is None else max(0.0, (until - (http_date(date) or now)).total_seconds())
