"""Fetching documents over HTTP from a real server."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from services.fetcher.http.source import HttpSource
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.documents import Absence, Document, Refusal, RefusedResponse, Throttled
from shared.errors import InvalidDocument, TransientError
from tests.services.fetcher.site import Answer, Handler, Site, page, status, truncated
from tests.services.fetcher.synthetic_documents import DAY, NOON, SettableClock, body, event, made_source

DATED, TODAY = "/cards/20310504.json", "/cards/today.json"
PAST = DueWindow(Window("cards", DAY), historical=True)
CURRENT = DueWindow(Window("cards", DAY), historical=False)
BODY = body("cards", [event(1)])


@contextmanager
def client(url: str, elapsed_s: Callable[[], float] = lambda: 0.0) -> Iterator[HttpSource]:
    source = HttpSource(made_source(url), SettableClock(), elapsed_s)
    try:
        yield source
    finally:
        source.close()


def recording(header: str, values: list[str | None]) -> Answer:
    """Appends the request's header to `values` and responds with the page."""

    def answer(handler: Handler) -> None:
        values.append(handler.headers.get(header))
        page(handler)

    return answer


def fetch_from(site: Site, due: DueWindow = PAST, etag: str | None = None) -> Document | Absence:
    with client(site.url) as source:
        return source.fetch(due, etag)


def test_a_past_day_is_fetched_from_its_own_url(site: Site) -> None:
    site.pages[DATED] = BODY

    document = fetch_from(site)

    assert isinstance(document, Document)
    assert (document.body, document.url, document.historical) == (BODY, site.url + DATED, True)
    assert document.fetched_at == NOON
    assert document.published_at == datetime(2031, 5, 4, 2, 30, tzinfo=UTC)


def test_the_current_day_is_fetched_from_todays_url(site: Site) -> None:
    site.pages[TODAY] = BODY

    document = fetch_from(site, CURRENT)

    assert isinstance(document, Document)
    assert (site.requests, document.historical) == ([TODAY], False)


def test_an_unchanged_document_is_not_sent_again(site: Site) -> None:
    site.pages[TODAY] = BODY
    first = fetch_from(site, CURRENT)

    assert isinstance(first, Document)
    assert fetch_from(site, CURRENT, first.etag) is Absence.UNCHANGED


INVALID_ETAGS = ['"\xe9"', "abc", 'w/"abc"', '"a"b"', '"a b"', '"a\tb"', '""""', f'"{"x" * 255}"', "*", ""]


@pytest.mark.parametrize("tag", ['""', '"abc"', 'W/"a!~#"', f'"{"x" * 254}"'])
def test_a_valid_etag_is_stored_and_sent_back(site: Site, tag: str) -> None:
    sent_headers: list[str | None] = []
    site.answers[TODAY].append(lambda handler: handler.answer(200, BODY, ETag=tag))
    site.answers[TODAY].append(recording("If-None-Match", sent_headers))

    first = fetch_from(site, CURRENT)
    assert isinstance(first, Document)
    fetch_from(site, CURRENT, first.etag)

    assert (first.etag, sent_headers) == (tag, [tag])


@pytest.mark.parametrize("tag", INVALID_ETAGS)
def test_an_invalid_etag_is_not_stored(site: Site, tag: str) -> None:
    site.answers[TODAY].append(lambda handler: handler.answer(200, BODY, ETag=tag))

    document = fetch_from(site, CURRENT)

    assert isinstance(document, Document)
    assert document.etag is None


@pytest.mark.parametrize("tag", [*INVALID_ETAGS, '"a"\n', '"\u677e"', '"a"\r\nX: y'])
def test_an_invalid_etag_is_not_sent(site: Site, tag: str) -> None:
    sent_headers: list[str | None] = []
    site.pages[TODAY] = BODY
    site.answers[TODAY].append(recording("If-None-Match", sent_headers))

    assert isinstance(fetch_from(site, CURRENT, tag), Document)
    assert sent_headers == [None]


def test_no_cookie_is_stored(site: Site) -> None:
    sent_headers: list[str | None] = []
    site.pages[DATED] = BODY
    site.answers[TODAY].append(lambda handler: handler.answer(200, BODY, Set_Cookie="a=\xe9"))
    site.answers[DATED].append(recording("Cookie", sent_headers))

    with client(site.url) as source:
        source.fetch(CURRENT, None)
        source.fetch(PAST, None)

    assert sent_headers == [None]


def test_404_is_not_published_yet(site: Site) -> None:
    assert fetch_from(site) is Absence.NOT_PUBLISHED


@pytest.mark.parametrize("code", [500, 503, 408, 429])
def test_a_busy_server_is_a_transient_error(site: Site, code: int) -> None:
    site.answers[DATED].append(status(code))

    with pytest.raises(TransientError, match=f"{DATED}.*{code}"):
        fetch_from(site)


@pytest.mark.parametrize("code", [400, 403, 410])
def test_a_refusal_is_no_document(site: Site, code: int) -> None:
    site.answers[DATED].append(status(code))

    with pytest.raises(InvalidDocument, match=str(code)):
        fetch_from(site)


def test_a_cut_connection_is_a_transient_error(site: Site) -> None:
    site.answers[DATED].append(truncated(BODY))

    with pytest.raises(TransientError, match=DATED):
        fetch_from(site)


def test_an_unreachable_server_is_a_transient_error(site: Site) -> None:
    site.server_close()

    with pytest.raises(TransientError, match="ConnectError"):
        fetch_from(site)


def test_a_document_above_the_size_limit_is_refused(site: Site) -> None:
    site.pages[DATED] = b" " * 1_000_001

    with pytest.raises(InvalidDocument, match="at most 1,000,000 bytes"):
        fetch_from(site)


def test_a_body_that_decompresses_above_the_size_limit_is_refused(site: Site) -> None:
    compressed = gzip.compress(b" " * 1_000_001)
    site.answers[DATED].append(lambda handler: handler.answer(200, compressed, Content_Encoding="gzip"))

    with pytest.raises(InvalidDocument, match="at most"):
        fetch_from(site)


def test_a_body_that_cannot_be_decompressed_is_refused(site: Site) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(200, b"not compressed", Content_Encoding="gzip"))

    with pytest.raises(InvalidDocument, match="expected a body in gzip"):
        fetch_from(site)


def test_a_document_that_arrives_too_slowly_is_a_transient_error(site: Site) -> None:
    site.pages[DATED] = BODY
    hours = itertools.count(step=3600)

    with client(site.url, lambda: float(next(hours))) as source, pytest.raises(TransientError, match="within 5 s"):
        source.fetch(PAST, None)


def test_a_redirect_is_followed(site: Site) -> None:
    site.pages["/elsewhere.json"] = BODY
    site.answers[DATED].append(lambda handler: handler.answer(301, Location="/elsewhere.json"))

    document = fetch_from(site)

    assert isinstance(document, Document)
    assert document.body == BODY


def test_a_redirect_loop_is_no_document(site: Site) -> None:
    site.answers[DATED].extend([lambda handler: handler.answer(302, Location=DATED)] * 9)

    with pytest.raises(InvalidDocument, match="at most 3 redirects"):
        fetch_from(site)


def test_a_time_of_publication_that_cannot_be_true_is_counted_for_the_current_day(site: Site) -> None:
    counted: list[int] = []
    site.answers[TODAY].append(lambda handler: handler.answer(200, BODY, Last_Modified="Thu, 01 Jan 1970 00:00:00 GMT"))
    site.answers[DATED].append(lambda handler: handler.answer(200, BODY, Last_Modified="Thu, 01 Jan 1970 00:00:00 GMT"))
    source = HttpSource(made_source(site.url), SettableClock(), count_refused_date=lambda: counted.append(1))

    documents = [source.fetch(CURRENT, None), source.fetch(PAST, None)]
    source.close()

    assert [each.published_at for each in documents if isinstance(each, Document)] == [None, None]
    assert counted == [1]


@pytest.mark.parametrize("code", [429, 503])
def test_a_throttling_server_says_when_to_come_back(site: Site, code: int) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(code, b"busy", Retry_After="120"))

    with pytest.raises(Throttled) as throttled:
        fetch_from(site)

    assert throttled.value.retry_after == "120"
    assert throttled.value.date is not None


def test_304_without_a_tag_in_the_request_is_refused(site: Site) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(304))

    with pytest.raises(RefusedResponse, match="expected 200 or 404, got 304"):
        fetch_from(site)


@pytest.mark.parametrize(
    ("content", "content_type"), [(b"<html></html>", "application/json"), (b'{"cards":[]}', "text/html")]
)
def test_markup_is_a_block_page(site: Site, content: bytes, content_type: str) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(200, content, Content_Type=content_type))

    with pytest.raises(RefusedResponse, match="a page of markup") as refused:
        fetch_from(site)

    assert refused.value.reason == "block page"


def test_a_declared_marker_shows_a_block_page(site: Site) -> None:
    site.pages[DATED] = b'{"cards":[],"notice":"Please verify that you are human"}'
    source = HttpSource(made_source(site.url, block_page={"markers": ["you are human"]}), SettableClock())

    with pytest.raises(RefusedResponse, match="the marker 'you are human'"):
        source.fetch(PAST, None)
    source.close()


def test_a_document_has_its_response(site: Site) -> None:
    site.pages[DATED] = BODY

    document = fetch_from(site)

    assert isinstance(document, Document)
    assert document.response is not None
    assert (document.response.status, document.response.body) == (200, BODY)


def test_only_gzip_is_requested(site: Site) -> None:
    sent_headers: list[str | None] = []
    site.pages[DATED] = BODY
    site.answers[DATED].append(recording("Accept-Encoding", sent_headers))

    fetch_from(site)

    assert sent_headers == ["gzip"]


def test_a_gzip_body_is_unpacked(site: Site) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(200, gzip.compress(BODY), Content_Encoding="gzip"))

    document = fetch_from(site)

    assert isinstance(document, Document)
    assert document.body == BODY


@pytest.mark.parametrize(
    ("code", "content", "reason"),
    [
        (403, b"<html>Access denied</html>", Refusal.BLOCK_PAGE),
        (403, b"checking your browser", Refusal.BLOCK_PAGE),
        (404, b"checking your browser", Refusal.BLOCK_PAGE),
        (200, b"checking your browser", Refusal.BLOCK_PAGE),
        (403, b"no", Refusal.STATUS),
    ],
)
def test_a_block_page_is_recognised_whatever_its_status_is(
    site: Site, code: int, content: bytes, reason: Refusal
) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(code, content))
    source = HttpSource(made_source(site.url, block_page={"markers": ["checking your browser"]}), SettableClock())

    with closing(source), pytest.raises(RefusedResponse) as raised:
        source.fetch(PAST, None)

    assert raised.value.reason is reason


def test_a_404_with_markup_means_not_published(site: Site) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(404, b"<html>not found</html>", Content_Type="text/html"))

    assert fetch_from(site) is Absence.NOT_PUBLISHED
