"""Fetches documents over HTTP: what a response means for the window that it was requested for."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from services.fetcher.http.addresses import Lookup
from services.fetcher.http.client import HttpClient
from services.fetcher.http.headers import http_date, may_be_json, publication_of, usable_tag, value_of
from services.fetcher.planning.windows import DueWindow
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Absence, Document, Refusal, RefusedResponse, SourceResponse, Throttled
from shared.clock import Clock
from shared.errors import TransientError

# Worth a retry, like 5xx. Any other status below 500 would be the same next time.
RETRYABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
THROTTLING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
LAST_STATUS = 599


class HttpSource:
    """A DocumentSource over HTTP. `count_refused_date` is called for each Last-Modified that is not used,
    `record_server_time` with the `Date` of each response."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        elapsed_s: Callable[[], float] = time.monotonic,
        *,
        lookup: Lookup | None = None,
        count_refused_date: Callable[[], None] = lambda: None,
        record_server_time: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._client = HttpClient(source, lookup, elapsed_s)
        self._count_refused_date = count_refused_date
        self._record_server_time = record_server_time

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        """Status 404 means not published yet, 304 means unchanged.

        `etag` may have been stored by an older version: it is sent only if it is usable.
        """
        url, tag = self._url(due), usable_tag(etag)
        response = self._client.get(url, tag)
        if (server_time := http_date(value_of(response.headers, "date"))) is not None:
            self._record_server_time(server_time)
        return self._absence(url, tag, response) or self._document(due, url, response)

    def close(self) -> None:
        self._client.close()

    def _url(self, due: DueWindow) -> str:
        feed = self._source.feed(due.window.feed)
        template = feed.dated if due.historical or feed.today is None else feed.today
        return self._source.base_url + template.format(feed=feed.name, date=due.window.date)

    def _absence(self, url: str, tag: str | None, response: SourceResponse) -> Absence | None:
        """None if the response has a document."""
        status = response.status
        if status == HTTPStatus.OK:
            return None
        if status == HTTPStatus.NOT_MODIFIED and tag is not None:
            return Absence.UNCHANGED
        marker = self._marker_in(response.body)
        if status == HTTPStatus.NOT_FOUND and marker is None:
            return Absence.NOT_PUBLISHED
        if HTTPStatus.INTERNAL_SERVER_ERROR <= status <= LAST_STATUS or status in RETRYABLE:
            if status in THROTTLING:
                retry_after, date = value_of(response.headers, "retry-after"), value_of(response.headers, "date")
                raise Throttled(f"GET {url}: the server answered {_status_text(status)}", retry_after, date)
            raise TransientError(f"GET {url}: the server answered {_status_text(status)}")
        expected = "200, 304 or 404" if tag else "200 or 404"
        reason = Refusal.STATUS if marker is None and not _is_markup(response) else Refusal.BLOCK_PAGE
        raise RefusedResponse(f"GET {url}: expected {expected}, got {_status_text(status)}", reason, response)

    def _document(self, due: DueWindow, url: str, response: SourceResponse) -> Document:
        self._refuse_other_content(url, response)
        fetched_at = self._clock.now()
        published = publication_of(value_of(response.headers, "last-modified"), fetched_at)
        # The documents of past days are old, and their facts do not use the time of publication.
        if published.is_refused and not due.historical:
            self._count_refused_date()
        return Document(
            feed=due.window.feed,
            date=due.window.date,
            url=url,
            body=response.body,
            fetched_at=fetched_at,
            published_at=published.at,
            etag=usable_tag(value_of(response.headers, "etag")),
            historical=due.historical,
            response=response,
        )

    def _refuse_other_content(self, url: str, response: SourceResponse) -> None:
        """Raises RefusedResponse for markup instead of JSON, a marker of the declaration, or another content type."""
        if _is_markup(response):
            raise RefusedResponse(f"GET {url}: expected JSON, got a page of markup", Refusal.BLOCK_PAGE, response)
        if (marker := self._marker_in(response.body)) is not None:
            raise RefusedResponse(f"GET {url}: the page contains the marker {marker!r}", Refusal.BLOCK_PAGE, response)
        content_type = value_of(response.headers, "content-type")
        if not may_be_json(content_type):
            message = f"GET {url}: expected JSON, got the content type {content_type!r:.100}"
            raise RefusedResponse(message, Refusal.TYPE, response)

    def _marker_in(self, body: bytes) -> str | None:
        """The first marker of the declaration that the body contains."""
        return next((marker for marker in self._source.block_page.markers if marker.encode() in body), None)


def _is_markup(response: SourceResponse) -> bool:
    starts_with_tag = response.body[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    return starts_with_tag or "html" in (value_of(response.headers, "content-type") or "")


def _status_text(status: int) -> str:
    """The status with its standard phrase: the server's own phrase could contain anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
