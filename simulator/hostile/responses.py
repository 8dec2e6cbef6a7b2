"""Attacks with status codes, redirects and headers."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from simulator.hostile.script import JSON, Action, Attack, HostileRequest, chunk, drip, head, response

HTML = {"Content-Type": "text/html; charset=utf-8"}
BLOCK_PAGE = b"<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>Access denied</body></html>"


def _redirect(location: str | bytes, status: int = 302) -> bytes:
    return response(status, {"Location": location})


def redirect_loop(request: HostileRequest) -> Iterator[Action]:
    yield _redirect(request.path)


def redirect_chain(request: HostileRequest) -> Iterator[Action]:
    path, _, hop = request.path.partition("?hop=")
    yield _redirect(f"{path}?hop={int(hop or 0) + 1}")


def redirect_to_other_host(_target: HostileRequest) -> Iterator[Action]:
    yield _redirect("http://other-host.invalid/document.json")


def redirect_to_other_port(request: HostileRequest) -> Iterator[Action]:
    port = urlsplit(request.url).port or 80
    yield _redirect(f"http://127.0.0.1:{port - 1}/document.json")


def redirect_to_private_address(_target: HostileRequest) -> Iterator[Action]:
    yield _redirect("http://169.254.169.254/latest/meta-data/")


def redirect_to_lower_scheme(request: HostileRequest) -> Iterator[Action]:
    yield _redirect(request.url.replace("https:", "http:") + request.path)


def redirect_to_file(_target: HostileRequest) -> Iterator[Action]:
    yield _redirect("file:///etc/passwd")


def redirect_to_user(request: HostileRequest) -> Iterator[Action]:
    yield _redirect(request.url.replace("://", "://user:password@") + "/document.json")


def redirect_to_nowhere(_target: HostileRequest) -> Iterator[Action]:
    yield response(302, {})


def redirect_to_invalid_url(_target: HostileRequest) -> Iterator[Action]:
    yield _redirect("http://[::1")


def redirect_not_ascii(_target: HostileRequest) -> Iterator[Action]:
    yield _redirect(b"/\xff\xfe\xe9")


def huge_redirect(_target: HostileRequest) -> Iterator[Action]:
    yield _redirect("/" + "a" * 60_000)


def redirect_with_endless_body(request: HostileRequest) -> Iterator[Action]:
    yield head(302, {"Location": request.path, "Transfer-Encoding": "chunked"})
    while True:
        yield chunk(b"a" * 65536)


def huge_header(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"X-Huge": "a" * 1_000_000}, request.body)


def large_header(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"X-Large": "a" * 60_000}, request.body)


def many_headers(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {f"X-{number}": "a" for number in range(5_000)}, request.body)


def non_ascii_tag(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"ETag": b'"\xe9\xff"', "Set-Cookie": b"a=\xe9", "X-\x7f": b"\xff"}, request.body)


def non_ascii_headers(request: HostileRequest) -> Iterator[Action]:
    headers = JSON | {"ETag": b'"\xe9\xff"', "Set-Cookie": b"a=\xe9", "Server": b"\xf0\x9f\x92\xa9", "Via": b"\xff\xfe"}
    yield response(200, headers, request.body)


def control_characters(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"ETag": b'"a\x00b"', "X-Null": b"\x00"}, request.body)


def folded_header(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"X-Folded": "a\r\n b\r\n\tc"}, request.body)


def published_in_future(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"Last-Modified": "Fri, 31 Dec 2100 23:59:59 GMT"}, request.body)


def published_in_1970(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}, request.body)


def invalid_date(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"Last-Modified": "Mon, 01 Jan 0001 00:00:00 +2359"}, request.body)


def block_page(_target: HostileRequest) -> Iterator[Action]:
    yield response(200, HTML, BLOCK_PAGE)


def block_page_as_json(_target: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON, BLOCK_PAGE)


def forbidden(_target: HostileRequest) -> Iterator[Action]:
    yield response(403, HTML, BLOCK_PAGE)


def wrong_content_type(request: HostileRequest) -> Iterator[Action]:
    yield response(200, {"Content-Type": "image/png"}, request.body)


def too_many_requests(_target: HostileRequest) -> Iterator[Action]:
    yield response(429, {"Retry-After": "2"}, b"slow down")


def unavailable(_target: HostileRequest) -> Iterator[Action]:
    yield response(503, HTML, b"<html>busy</html>")


def unavailable_for_years(_target: HostileRequest) -> Iterator[Action]:
    yield response(503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, b"busy")


def unavailable_without_end(_target: HostileRequest) -> Iterator[Action]:
    yield head(503, {"Transfer-Encoding": "chunked"})
    while True:
        yield chunk(b"a" * 65536)


def unavailable_slowly(request: HostileRequest) -> Iterator[Action]:
    yield head(503, {"Retry-After": "2", "Content-Length": "1000"})
    yield from drip(b"a" * 1000, request.interval_s)


def no_content(_target: HostileRequest) -> Iterator[Action]:
    yield head(204, {})


def partial_content(request: HostileRequest) -> Iterator[Action]:
    half = request.body[: len(request.body) // 2]
    yield response(206, JSON | {"Content-Range": f"bytes 0-{len(half) - 1}/{len(request.body)}"}, half)


def unknown_status(request: HostileRequest) -> Iterator[Action]:
    yield response(999, JSON, request.body)


def unrequested_not_modified(_target: HostileRequest) -> Iterator[Action]:
    yield head(304, {})


ATTACKS = (
    Attack("redirect-loop", "a redirect to the same address", redirect_loop),
    Attack("redirect-chain", "redirects without an end", redirect_chain),
    Attack("redirect-to-other-host", "a redirect to another host", redirect_to_other_host),
    Attack("redirect-to-other-port", "a redirect to another port of this machine", redirect_to_other_port),
    Attack("redirect-to-private-address", "a redirect to a link-local address", redirect_to_private_address),
    Attack("redirect-to-lower-scheme", "a redirect from https to http", redirect_to_lower_scheme),
    Attack("redirect-to-file", "a redirect to a file", redirect_to_file),
    Attack("redirect-to-user", "a redirect with a password", redirect_to_user),
    Attack("redirect-to-nowhere", "a redirect without a Location", redirect_to_nowhere),
    Attack("redirect-to-invalid-url", "a redirect to an invalid URL", redirect_to_invalid_url),
    Attack("redirect-not-ascii", "a redirect with bytes that are not ASCII", redirect_not_ascii),
    Attack("huge-redirect", "a redirect to a URL of 60,000 characters", huge_redirect),
    Attack("redirect-with-endless-body", "a redirect whose body has no end", redirect_with_endless_body),
    Attack("huge-header", "a header of 1 MB", huge_header),
    Attack("large-header", "a header of 60 KB", large_header),
    Attack("many-headers", "5,000 headers", many_headers),
    Attack("non-ascii-tag", "a header name and an ETag that are not ASCII", non_ascii_tag),
    Attack("non-ascii-headers", "an ETag and cookies that are not ASCII", non_ascii_headers, is_plausible=True),
    Attack("control-characters", "an ETag with a null character", control_characters),
    Attack("folded-header", "a header over several lines", folded_header, is_plausible=True),
    Attack("published-in-future", "a Last-Modified in the year 2100", published_in_future, is_plausible=True),
    Attack("published-in-1970", "a Last-Modified of 1970", published_in_1970, is_plausible=True),
    Attack("invalid-date", "a Last-Modified of the year 1", invalid_date, is_plausible=True),
    Attack("block-page", "an HTML page with status 200", block_page),
    Attack("block-page-as-json", "an HTML page that is declared to be JSON", block_page_as_json),
    Attack("forbidden", "status 403 with an HTML page", forbidden),
    Attack("wrong-content-type", "the document as an image", wrong_content_type),
    Attack("too-many-requests", "status 429 with Retry-After", too_many_requests),
    Attack("unavailable", "status 503", unavailable),
    Attack("unavailable-for-years", "status 503 with a Retry-After in the year 2100", unavailable_for_years),
    Attack("unavailable-without-end", "status 503 with a body without an end", unavailable_without_end),
    Attack("unavailable-slowly", "status 503 whose body comes byte by byte", unavailable_slowly),
    Attack("no-content", "status 204", no_content),
    Attack("partial-content", "status 206, which was not requested", partial_content),
    Attack("unknown-status", "status 999", unknown_status),
    Attack("unrequested-not-modified", "status 304, whether requested or not", unrequested_not_modified),
)
