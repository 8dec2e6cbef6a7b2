"""Fetches documents over HTTP, with one client for all threads, conditional requests, and limits on time and size."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from services.fetcher.planning.windows import DueWindow
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Absence, Document, Throttled
from shared.clock import Clock
from shared.errors import InvalidDocument, TransientError
from shared.loopback import is_loopback

# Worth a retry, like 5xx. Any other status below 500 would be the same next time.
RETRYABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

# An entity tag (RFC 9110, section 8.8.3) in ASCII. Any other cannot be sent back exactly as it was received.
ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e]*"')
MAX_TAG_CHARS = 256


class HttpSource:
    """A DocumentSource over HTTP.

    `elapsed_s` is the clock of the time limit on a whole document. Without that limit a slow server could send for any
    time, because httpx limits only each read. `record_server_time` gets the `Date` of each response.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock,
        elapsed_s: Callable[[], float] = time.monotonic,
        record_server_time: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        self._record_server_time = record_server_time
        self._source = source
        self._clock = clock
        self._elapsed_s = elapsed_s
        limits = source.http
        self._client = httpx.Client(
            timeout=httpx.Timeout(limits.read_timeout_s, connect=limits.connect_timeout_s, pool=limits.total_timeout_s),
            limits=httpx.Limits(max_connections=source.concurrency, max_keepalive_connections=source.concurrency),
            headers={"User-Agent": "headrace", "Accept": "application/json"},
            follow_redirects=True,
            max_redirects=3,
            # No cookies are stored: one that is not ASCII could not be sent back and would fail every later request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # A proxy from the environment cannot reach this machine's loopback addresses.
            trust_env=not is_loopback(httpx.URL(source.base_url).host),
        )

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        """Status 404 means not published yet, 304 means unchanged.

        `etag` may have been stored by an older version: it is sent only if it is usable.
        """
        url, tag = self._url(due), usable_tag(etag)
        try:
            with self._client.stream("GET", url, headers={"If-None-Match": tag} if tag else None) as response:
                if (server_time := _parse_http_date(response.headers.get("Date"))) is not None:
                    self._record_server_time(server_time)
                return self._absence(response) or self._document(due, url, response)
        except httpx.TransportError as error:
            raise TransientError(f"GET {url}: {type(error).__name__}: {error}") from error
        except httpx.HTTPError as error:
            raise InvalidDocument(f"GET {url}: {type(error).__name__}: {error}") from error
        except RuntimeError as error:
            # httpx raises it when `close` ended the client between two tries.
            raise TransientError(f"GET {url}: {error}") from error

    def close(self) -> None:
        self._client.close()

    def _url(self, due: DueWindow) -> str:
        feed = self._source.feed(due.window.feed)
        template = feed.dated if due.historical or feed.today is None else feed.today
        return self._source.base_url + template.format(feed=feed.name, date=due.window.date)

    def _absence(self, response: httpx.Response) -> Absence | None:
        """None if the response has a document."""
        status = response.status_code
        if status == HTTPStatus.OK:
            return None
        if status == HTTPStatus.NOT_MODIFIED:
            return Absence.UNCHANGED
        if status == HTTPStatus.NOT_FOUND:
            return Absence.NOT_PUBLISHED
        answered = f"GET {response.url}: the server answered {status} {response.reason_phrase}"
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            raise Throttled(answered, response.headers.get("Retry-After"), response.headers.get("Date"))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRYABLE:
            raise TransientError(answered)
        raise InvalidDocument(f"GET {response.url}: expected 200, 304 or 404, got {status} {response.reason_phrase}")

    def _document(self, due: DueWindow, url: str, response: httpx.Response) -> Document:
        return Document(
            feed=due.window.feed,
            date=due.window.date,
            url=url,
            body=self._body(url, response),
            fetched_at=self._clock.now(),
            published_at=_parse_http_date(response.headers.get("Last-Modified")),
            etag=usable_tag(response.headers.get("ETag")),
            historical=due.historical,
        )

    def _body(self, url: str, response: httpx.Response) -> bytes:
        limits = self._source.http
        deadline_s = self._elapsed_s() + limits.total_timeout_s
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > limits.max_body_bytes:
                raise InvalidDocument(f"GET {url}: expected at most {limits.max_body_bytes:,} bytes, got more")
            if self._elapsed_s() > deadline_s:
                raise TransientError(f"GET {url}: the document is not complete within {limits.total_timeout_s:g} s")
        return bytes(body)


def usable_tag(tag: str | None) -> str | None:
    """The entity tag if it can be sent back as it was received, else None."""
    return tag if tag is not None and len(tag) <= MAX_TAG_CHARS and ENTITY_TAG.fullmatch(tag) else None


def _parse_http_date(text: str | None) -> datetime | None:
    """The instant of an HTTP date in UTC; None if it is missing or invalid."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None
