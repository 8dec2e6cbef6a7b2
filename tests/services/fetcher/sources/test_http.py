from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.documents import Absence, Document
from services.fetcher.sources.http import HttpSource
from shared.errors import InvalidDocument, TransientError
from tests.services.fetcher.made import DAY, NOON, SetClock, body, event, made_source
from tests.services.fetcher.site import Answer, Handler, Site, cut, page, status

DATED, TODAY = "/cards/20310504.json", "/cards/today.json"
PAST = DueWindow(Window("cards", DAY), historical=True)
RUNNING = DueWindow(Window("cards", DAY), historical=False)
BODY = body("cards", [event(1)])


@contextmanager
def client(url: str, elapsed_s: Callable[[], float] = lambda: 0.0) -> Iterator[HttpSource]:
    source = HttpSource(made_source(url), SetClock(), elapsed_s)
    try:
        yield source
    finally:
        source.close()


def noting(header: str, values: list[str | None]) -> Answer:
    """The page, once the request's header is in `values`."""

    def answer(handler: Handler) -> None:
        values.append(handler.headers.get(header))
        page(handler)

    return answer


def fetched(site: Site, due: DueWindow = PAST, etag: str | None = None) -> Document | Absence:
    with client(site.url) as source:
        return source.fetch(due, etag)


def test_a_past_day_is_fetched_from_its_own_address(site: Site) -> None:
    site.pages[DATED] = BODY

    found = fetched(site)

    assert isinstance(found, Document)
    assert (found.body, found.url, found.historical) == (BODY, site.url + DATED, True)
    assert found.fetched_at == NOON
    assert found.published_at == datetime(2031, 5, 4, 2, 30, tzinfo=UTC)


def test_the_running_day_is_fetched_from_todays_address(site: Site) -> None:
    site.pages[TODAY] = BODY

    found = fetched(site, RUNNING)

    assert isinstance(found, Document)
    assert (site.requests, found.historical) == ([TODAY], False)


def test_a_document_that_did_not_change_is_not_sent_again(site: Site) -> None:
    site.pages[TODAY] = BODY
    first = fetched(site, RUNNING)

    assert isinstance(first, Document)
    assert fetched(site, RUNNING, first.etag) is Absence.UNCHANGED


UNUSABLE_TAGS = ['"\xe9"', "abc", 'w/"abc"', '"a"b"', '"a b"', '"a\tb"', '""""', f'"{"x" * 255}"', "*", ""]


@pytest.mark.parametrize("tag", ['""', '"abc"', 'W/"a!~#"', f'"{"x" * 254}"'])
def test_a_usable_tag_is_kept_and_sent_back(site: Site, tag: str) -> None:
    asked: list[str | None] = []
    site.answers[TODAY].append(lambda handler: handler.answer(200, BODY, ETag=tag))
    site.answers[TODAY].append(noting("If-None-Match", asked))

    first = fetched(site, RUNNING)
    assert isinstance(first, Document)
    fetched(site, RUNNING, first.etag)

    assert (first.etag, asked) == (tag, [tag])


@pytest.mark.parametrize("tag", UNUSABLE_TAGS)
def test_an_unusable_tag_is_not_kept(site: Site, tag: str) -> None:
    site.answers[TODAY].append(lambda handler: handler.answer(200, BODY, ETag=tag))

    found = fetched(site, RUNNING)

    assert isinstance(found, Document)
    assert found.etag is None


@pytest.mark.parametrize("tag", [*UNUSABLE_TAGS, '"a"\n', '"\u677e"', '"a"\r\nX: y'])
def test_an_unusable_tag_is_not_sent(site: Site, tag: str) -> None:
    asked: list[str | None] = []
    site.pages[TODAY] = BODY
    site.answers[TODAY].append(noting("If-None-Match", asked))

    assert isinstance(fetched(site, RUNNING, tag), Document)
    assert asked == [None]


def test_no_cookie_is_kept(site: Site) -> None:
    asked: list[str | None] = []
    site.pages[DATED] = BODY
    site.answers[TODAY].append(lambda handler: handler.answer(200, BODY, Set_Cookie="a=\xe9"))
    site.answers[DATED].append(noting("Cookie", asked))

    with client(site.url) as source:
        source.fetch(RUNNING, None)
        source.fetch(PAST, None)

    assert asked == [None]


def test_404_is_not_published_yet(site: Site) -> None:
    assert fetched(site) is Absence.NOT_PUBLISHED


@pytest.mark.parametrize("code", [500, 503, 408, 429])
def test_a_busy_server_may_answer_later(site: Site, code: int) -> None:
    site.answers[DATED].append(status(code))

    with pytest.raises(TransientError, match=f"{DATED}.*{code}"):
        fetched(site)


@pytest.mark.parametrize("code", [400, 403, 410])
def test_a_refusal_is_no_document(site: Site, code: int) -> None:
    site.answers[DATED].append(status(code))

    with pytest.raises(InvalidDocument, match=str(code)):
        fetched(site)


def test_a_connection_that_is_cut_may_hold_next_time(site: Site) -> None:
    site.answers[DATED].append(cut(BODY))

    with pytest.raises(TransientError, match=DATED):
        fetched(site)


def test_a_server_that_is_not_there_may_come(site: Site) -> None:
    site.server_close()

    with pytest.raises(TransientError, match="ConnectError"):
        fetched(site)


def test_an_unending_document_is_refused(site: Site) -> None:
    site.pages[DATED] = b" " * 1_000_001

    with pytest.raises(InvalidDocument, match="at most 1,000,000 bytes"):
        fetched(site)


def test_a_small_body_that_unpacks_to_an_unending_one_is_refused(site: Site) -> None:
    packed = gzip.compress(b" " * 1_000_001)
    site.answers[DATED].append(lambda handler: handler.answer(200, packed, Content_Encoding="gzip"))

    with pytest.raises(InvalidDocument, match="at most"):
        fetched(site)


def test_a_body_that_does_not_unpack_is_refused(site: Site) -> None:
    site.answers[DATED].append(lambda handler: handler.answer(200, b"not packed", Content_Encoding="gzip"))

    with pytest.raises(InvalidDocument, match="DecodingError"):
        fetched(site)


def test_a_document_that_trickles_in_for_too_long_is_given_up(site: Site) -> None:
    site.pages[DATED] = BODY
    hours = itertools.count(step=3600)

    with client(site.url, lambda: float(next(hours))) as source, pytest.raises(TransientError, match="within 5 s"):
        source.fetch(PAST, None)


def test_a_moved_document_is_followed(site: Site) -> None:
    site.pages["/elsewhere.json"] = BODY
    site.answers[DATED].append(lambda handler: handler.answer(301, Location="/elsewhere.json"))

    found = fetched(site)

    assert isinstance(found, Document)
    assert found.body == BODY


def test_addresses_that_lead_in_a_circle_are_no_document(site: Site) -> None:
    site.answers[DATED].extend([lambda handler: handler.answer(302, Location=DATED)] * 9)

    with pytest.raises(InvalidDocument, match="TooManyRedirects"):
        fetched(site)
