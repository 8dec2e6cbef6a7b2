"""Decides which headers of a response are used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

# An entity tag (RFC 9110, section 8.8.3) in ASCII. Any other cannot be sent back exactly as it was received.
ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e]*"')
MAX_TAG_CHARS = 256
MAX_HEADERS = 128
MAX_HEADER_BYTES = 32 * 1024
# An older or later time of publication cannot be true of a document that is followed: it would hide corrections.
MAX_AGE = timedelta(hours=48)
MAX_AHEAD = timedelta(seconds=60)
# Servers of static files often do not know JSON. A missing content type is accepted too.
OTHER_TYPES = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
PLAIN, GZIP = "identity", "gzip"

Headers = Sequence[tuple[str, str]]
"""Names and values in the order in which they were received, decoded as Latin-1."""


class Publication(NamedTuple):
    """When a document was published; None if that is unknown. `is_refused`: the server named an impossible time."""

    at: datetime | None
    is_refused: bool = False


def decoded(raw: Sequence[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)


def problem_of(headers: Headers) -> str | None:
    """What is wrong with the number or size of the headers; None if nothing is."""
    if len(headers) > MAX_HEADERS:
        return f"expected at most {MAX_HEADERS} headers, got {len(headers):,}"
    size_bytes = sum(len(name) + len(value) for name, value in headers)
    if size_bytes > MAX_HEADER_BYTES:
        return f"expected at most {MAX_HEADER_BYTES:,} bytes of headers, got {size_bytes:,}"
    return None


def value_of(headers: Headers, name: str) -> str | None:
    """The values of a header, joined by a comma; None if it is missing."""
    values = [value for each, value in headers if each.lower() == name]
    return ", ".join(values) if values else None


def usable_tag(tag: str | None) -> str | None:
    """The entity tag if it can be sent back as it was received, else None."""
    return tag if tag is not None and len(tag) <= MAX_TAG_CHARS and ENTITY_TAG.fullmatch(tag) else None


def may_be_json(content_type: str | None) -> bool:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type in OTHER_TYPES or media_type.endswith(("/json", "+json"))


def encoding_of(headers: Headers) -> str | None:
    """PLAIN or GZIP; None for any other encoding and for several."""
    declared = (value_of(headers, "content-encoding") or PLAIN).strip().lower()
    return {PLAIN: PLAIN, "": PLAIN, GZIP: GZIP, "x-gzip": GZIP}.get(declared)


def publication_of(last_modified: str | None, fetched_at: datetime) -> Publication:
    """The time of `Last-Modified` if it is within [fetched_at - MAX_AGE, fetched_at + MAX_AHEAD]."""
    if last_modified is None:
        return Publication(None)
    at = http_date(last_modified)
    if at is None:
        return Publication(None, is_refused=True)
    if fetched_at - MAX_AGE <= at <= fetched_at + MAX_AHEAD:
        return Publication(at)
    return Publication(None, is_refused=True)


def http_date(text: str | None) -> datetime | None:
    """The time of a header field such as `Date`; None if it is missing or invalid."""
    if text is None:
        return None
    try:
        at = parsedate_to_datetime(text)
        # A date without a zone is in UTC, as all HTTP dates are.
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
