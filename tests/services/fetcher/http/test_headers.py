"""Which headers of a response are used."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest

from services.fetcher.http.headers import (
    GZIP,
    MAX_HEADERS,
    PLAIN,
    Publication,
    encoding_of,
    may_be_json,
    problem_of,
    publication_of,
    value_of,
)
from tests.services.fetcher.synthetic_documents import NOON


def http_date(at: datetime) -> str:
    return format_datetime(at, usegmt=True)


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=48), timedelta(seconds=-60)])
def test_a_possible_time_of_publication_is_used(age: timedelta) -> None:
    assert publication_of(http_date(NOON - age), NOON) == Publication(NOON - age)


@pytest.mark.parametrize("age", [timedelta(hours=48, seconds=1), timedelta(seconds=-61), timedelta(days=22_000)])
def test_an_impossible_time_of_publication_is_refused(age: timedelta) -> None:
    assert publication_of(http_date(NOON - age), NOON) == Publication(None, is_refused=True)


@pytest.mark.parametrize("text", ["yesterday", "", "Mon, 01 Jan 0001 00:00:00 +2359", "\xff", "1 2 3 4 5 6 7"])
def test_an_invalid_time_of_publication_is_refused(text: str) -> None:
    assert publication_of(text, NOON) == Publication(None, is_refused=True)


def test_a_missing_time_of_publication_is_not_refused() -> None:
    assert publication_of(None, NOON) == Publication(None)


def test_a_time_of_publication_without_a_zone_is_utc() -> None:
    assert publication_of("Sun, 04 May 2031 02:30:00 -0000", NOON).at == NOON - timedelta(minutes=30)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "Application/JSON; charset=utf-8", "text/json", "application/geo+json", "text/plain",
     "application/octet-stream"],
)  # fmt: skip
def test_a_content_type_that_may_be_json(content_type: str | None) -> None:
    assert may_be_json(content_type)


@pytest.mark.parametrize("content_type", ["text/html", "image/png", "application/xml", "application/jsonp", "\xff"])
def test_a_content_type_that_is_not_json(content_type: str) -> None:
    assert not may_be_json(content_type)


@pytest.mark.parametrize(
    ("values", "encoding"),
    [
        ([], PLAIN),
        ([""], PLAIN),
        (["identity"], PLAIN),
        (["gzip"], GZIP),
        ([" GZip "], GZIP),
        (["x-gzip"], GZIP),
        (["gzip, gzip"], None),
        (["gzip", "gzip"], None),
        (["zstd"], None),
        (["deflate"], None),
        (["gzip;q=1"], None),
    ],
)
def test_only_gzip_and_no_encoding_are_accepted(values: list[str], encoding: str | None) -> None:
    assert encoding_of([("Content-Encoding", value) for value in values]) == encoding


def test_too_many_headers_are_a_problem() -> None:
    assert problem_of([("a", "b")] * MAX_HEADERS) is None
    assert problem_of([("a", "b")] * (MAX_HEADERS + 1)) == "expected at most 128 headers, got 129"


def test_too_large_headers_are_a_problem() -> None:
    assert problem_of([("a", "b" * 32_767)]) is None
    assert problem_of([("a", "b" * 32_768)]) == "expected at most 32,768 bytes of headers, got 32,769"


def test_values_of_a_repeated_header_are_joined() -> None:
    assert value_of([("ETag", '"a"'), ("etag", '"b"')], "etag") == '"a", "b"'
