"""Any response of a server gives records, no change, or a failed window with a known cause."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.fetcher.archive.rejected import RejectedResponses
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch_window import MAX_CAUSE_CHARS, FetchWindow
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.cursor import WindowCursor, decode, encode
from services.fetcher.planning.windows import DueWindow, Window
from shared.retry import Retry
from tests.services.fetcher.site import Answer, Handler, Site
from tests.services.fetcher.synthetic_documents import DAY, SettableClock, body, event, made_source

DUES = (DueWindow(Window("cards", DAY), historical=False), DueWindow(Window("cards", DAY), historical=True))
PATHS = ("/cards/today.json", "/cards/20310504.json", "/other")
EVENTS = body("cards", [event(1), event(2)])
# Generation is slow on a busy machine, and each example resets the server's responses.
SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
Header = tuple[bytes, bytes]
Answers = list[tuple[int, list[Header], bytes]]


def nested(levels: int, where: str) -> bytes:
    deep = b"[" * levels + b"]" * levels
    if where == "beside":
        return b'{"other":' + deep + b',"cards":[]}'
    return b'{"cards":[{"day":"2031-05-04","track":3,"heat":1,"more":' + deep + b"}]}"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALARS | st.sampled_from([event(1), event(2, day=DAY), {"day": "2031-05-05"}]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["cards", "day", "x"]), inner),
    max_leaves=8,
)
BODIES = (
    st.binary(max_size=200)
    | st.sampled_from([EVENTS, EVENTS[:-3], gzip.compress(EVENTS), b"", b"\xff\xfe", b'{"cards":[{"day":"\xff"}]}'])
    | st.builds(nested, st.integers(1, 3000), st.sampled_from(["beside", "inside"]))
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"cards": [value]}).encode())
)
# Without line ends: the server writes them itself.
VALUES = st.binary(max_size=40).map(lambda value: value.translate(None, b"\r\n"))
TAGS = VALUES.map(lambda value: b'"' + value + b'"') | VALUES
DATES = st.sampled_from([b"Sun, 04 May 2031 02:30:00 GMT", b"Mon, 01 Jan 0001 00:00:00 +2359", b"1 2 3 4 5 6 7"])
# None of them leads to another machine.
LOCATIONS = st.sampled_from(
    [b"/other", b"", b"http://[::1", b"http://127.0.0.1:99999/", b"ftp://127.0.0.1/", b"/\xff\x00"]
)
ENCODINGS = st.sampled_from([b"gzip", b"deflate", b"zstd", b"br", b"gzip, gzip", b"\xff"])
LENGTHS = st.sampled_from([b"0", b"1", b"9999", b"-1", b"\xff"])


def header(name: bytes, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[Header]:
    return st.tuples(st.just(name), values)


HEADERS = st.lists(
    header(b"ETag", TAGS)
    | header(b"Last-Modified", DATES | VALUES)
    | header(b"Location", LOCATIONS)
    | header(b"Content-Encoding", ENCODINGS)
    | header(b"Content-Length", LENGTHS)
    | header(b"Content-Type", VALUES | st.sampled_from([b"text/html", b"application/json", b"image/png"]))
    | header(b"Transfer-Encoding", st.sampled_from([b"chunked", b"gzip, chunked", b"\xff", b"identity"]))
    | header(b"Retry-After", VALUES | DATES | st.sampled_from([b"1", b"-1", b"9" * 5000]))
    | st.tuples(VALUES, VALUES)
    | header(b"Set-Cookie", VALUES),
    max_size=4,
)
STATUSES = st.sampled_from([200] * 6 + [100, 101, 103, 204, 206, 301, 302, 304, 308, 403, 404, 429, 500, 503, 999])
ANSWERS = st.lists(st.tuples(STATUSES, HEADERS, BODIES), min_size=1, max_size=3)


def raw_response(status: int, headers: list[Header], content: bytes) -> Answer:
    """Sends exactly this response and closes the connection."""

    def answer(handler: Handler) -> None:
        lines = [b"HTTP/1.1 %d Made" % status, *(name + b": " + value for name, value in headers)]
        handler.wfile.write(b"\r\n".join(lines) + b"\r\n\r\n" + content)
        handler.close_connection = True

    return answer


@pytest.fixture
def fetch_window(site: Site, tmp_path: Path) -> Iterator[FetchWindow]:
    source = made_source(site.url)
    documents = HttpSource(source, SettableClock())
    yield FetchWindow(
        source,
        documents,
        DocumentArchive(tmp_path),
        Retry(tries=2, first_delay_s=0.0001, max_delay_s=0.0002),
        RejectedResponses(tmp_path),
        SettableClock(),
    )
    documents.close()


@settings(max_examples=150, suppress_health_check=SUPPRESSED)
@example([(200, [(b"ETag", b'"\xe9"')], EVENTS)])
@example([(200, [(b"ETag", b'"a\x00b"')], EVENTS)])
@example([(200, [], nested(1000, "beside"))])
@example([(200, [], nested(1000, "inside"))])
@example([(200, [], nested(990, "inside"))])
@given(ANSWERS)
def test_no_response_makes_a_fetch_raise(
    fetch_window: FetchWindow, site: Site, answers: list[tuple[int, list[Header], bytes]]
) -> None:
    cursor = WindowCursor()

    for status, headers, content in answers:
        for due in DUES:
            for path in PATHS:
                site.answers[path].clear()
                site.answers[path].extend([raw_response(status, headers, content)] * 9)
            cursor = decode(encode(fetch_window(due, cursor).cursor))

            assert not (cursor.error or "").startswith("unexpected")
            assert len(cursor.error or "") <= MAX_CAUSE_CHARS
