"""Attacks with the content of a document, made from the honest one without knowledge of its keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from simulator.hostile.script import JSON, Action, Attack, HostileRequest, Script, response

DEEP = b"[" * 5_000 + b"]" * 5_000
ISO_DATE = re.compile(rb"\d{4}-\d{2}-\d{2}")


def _serving(change: Callable[[bytes], bytes]) -> Script:
    """The script that serves the changed document."""

    def script(request: HostileRequest) -> Iterator[Action]:
        yield response(200, JSON, change(request.body))

    return script


def with_elements(body: bytes, elements: bytes) -> bytes:
    """The document with further elements at the beginning of its first array."""
    start = body.find(b"[") + 1
    separator = b"" if body[start:].lstrip()[:1] == b"]" else b","
    return body[:start] + elements + separator + body[start:]


def with_field(body: bytes, field: bytes) -> bytes:
    """The document with a further field in the first object of its first array, or in itself if the array is empty."""
    match = re.search(rb"\[\s*\{", body) or re.match(rb"\s*\{", body)
    end = match.end() if match else 0
    return body[:end] + field + b"," + body[end:]


def junk_numbers(body: bytes) -> bytes:
    return with_elements(body, b",".join([b"1"] * 200_000))


def junk_objects(body: bytes) -> bytes:
    return with_elements(body, b",".join(b'{"junk":%d}' % number for number in range(100_000)))


def some_junk(body: bytes) -> bytes:
    """More than 20 rejected elements, few enough to hide among the events of a whole day."""
    return with_elements(body, b",".join(b'{"junk":%d}' % number for number in range(21)))


def nested_inside(body: bytes) -> bytes:
    return with_field(body, b'"deep":' + DEEP)


def nested_beside(body: bytes) -> bytes:
    return body.replace(b"{", b'{"deep":' + DEEP + b",", 1)


def huge_slice(body: bytes) -> bytes:
    return with_field(body, b'"padding":"' + b"a" * 2_000_000 + b'"')


def huge_number(body: bytes) -> bytes:
    return with_field(body, b'"number":' + b"9" * 100_000)


def repeated_events(body: bytes) -> bytes:
    """Each event 50 times."""
    start, end = body.find(b"[") + 1, body.rfind(b"]")
    events = body[start:end]
    return body[:start] + b",".join([events] * 50) + body[end:] if events.strip() else body


def invalid_utf8(body: bytes) -> bytes:
    return with_field(body, b'"name":"\xff\xfe"')


def lone_surrogate(body: bytes) -> bytes:
    return with_field(body, b'"name":"\\ud800\\u0000"')


def without_events(body: bytes) -> bytes:
    return body[: body.find(b"[") + 1] + b"]}"


def half_a_document(body: bytes) -> bytes:
    return body[: len(body) // 2]


def of_day_before(body: bytes) -> bytes:
    """The document with its most frequent date one day earlier."""
    dates = ISO_DATE.findall(body)
    if not dates:
        return body
    day = max(set(dates), key=dates.count)
    try:
        before = date.fromisoformat(day.decode()) - timedelta(days=1)
    except ValueError:
        return body
    return body.replace(day, before.isoformat().encode())


ATTACKS = (
    Attack("junk-numbers", "200,000 numbers among the events", _serving(junk_numbers)),
    Attack("junk-objects", "100,000 objects without keys among the events", _serving(junk_objects)),
    Attack("some-junk", "21 objects without keys among the events", _serving(some_junk), is_plausible=True),
    Attack("nested-inside", "an event nested 5,000 levels deep", _serving(nested_inside)),
    Attack("nested-beside", "5,000 levels beside the events", _serving(nested_beside)),
    Attack("huge-slice", "an event of 2 MB", _serving(huge_slice), is_plausible=True),
    Attack("huge-number", "a number of 100,000 digits", _serving(huge_number), is_plausible=True),
    Attack("repeated-events", "each event 50 times", _serving(repeated_events)),
    Attack("invalid-utf8", "bytes that are not UTF-8", _serving(invalid_utf8)),
    Attack("lone-surrogate", "a text that is not valid Unicode", _serving(lone_surrogate)),
    Attack("empty-body", "no byte of a body", _serving(lambda _: b"")),
    Attack("null-document", "the document null", _serving(lambda _: b"null")),
    Attack("other-shape", "a document without the array of events", _serving(lambda _: b'{"message":"moved"}')),
    Attack("no-events", "a document without events", _serving(without_events), is_plausible=True),
    Attack("half-a-document", "half of the JSON text with a true Content-Length", _serving(half_a_document)),
    Attack("other-day", "the document of the day before", _serving(of_day_before)),
    Attack("byte-order-mark", "a byte order mark before the JSON text", _serving(lambda body: b"\xef\xbb\xbf" + body)),
)
