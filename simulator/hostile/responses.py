"""Attacks with status codes, redirects and headers."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from simulator.hostile.script import JSON, Action, Attack, Target, chunk, head, response

HTML = {"Content-Type": "text/html; charset=utf-8"}
BLOCK_PAGE = b"<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>Access denied</body></html>"


def _redirect(location: str | bytes, status: int = 302) -> bytes:
    return response(status, {"Location": location})


def redirect_loop(target: Target) -> Iterator[Action]:
    yield _redirect(target.path)


def redirect_chain(target: Target) -> Iterator[Action]:
    path, _, hop = target.path.partition("?hop=")
    yield _redirect(f"{path}?hop={int(hop or 0) + 1}")


def redirect_to_other_host(_target: Target) -> Iterator[Action]:
    yield _redirect("http://other-host.invalid/document.json")


def redirect_to_other_port(target: Target) -> Iterator[Action]:
    port = urlsplit(target.url).port or 80
    yield _redirect(f"http://127.0.0.1:{port - 1}/document.json")


def redirect_to_private_address(_target: Target) -> Iterator[Action]:
    yield _redirect("http://169.254.169.254/latest/meta-data/")


def redirect_to_lower_scheme(target: Target) -> Iterator[Action]:
    yield _redirect(target.url.replace("https:", "http:") + target.path)


def redirect_to_file(_target: Target) -> Iterator[Action]:
    yield _redirect("file:///etc/passwd")


def redirect_to_user(target: Target) -> Iterator[Action]:
    yield _redirect(target.url.replace("://", "://user:password@") + "/document.json")


def redirect_to_nowhere(_target: Target) -> Iterator[Action]:
    yield response(302, {})


def redirect_to_invalid_url(_target: Target) -> Iterator[Action]:
    yield _redirect("http://[::1")


def redirect_not_ascii(_target: Target) -> Iterator[Action]:
    yield _redirect(b"/\xff\xfe\xe9")


def huge_redirect(_target: Target) -> Iterator[Action]:
    yield _redirect("/" + "a" * 60_000)


def redirect_with_endless_body(target: Target) -> Iterator[Action]:
    yield head(302, {"Location": target.path, "Transfer-Encoding": "chunked"})
    while True:
        yield chunk(b"a" * 65536)


def huge_header(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"X-Huge": "a" * 1_000_000}, target.body)


def large_header(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"X-Large": "a" * 60_000}, target.body)


def many_headers(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {f"X-{number}": "a" for number in range(5_000)}, target.body)


def non_ascii_tag(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"ETag": b'"\xe9\xff"', "Set-Cookie": b"a=\xe9", "X-\x7f": b"\xff"}, target.body)


def non_ascii_headers(target: Target) -> Iterator[Action]:
    headers = JSON | {"ETag": b'"\xe9\xff"', "Set-Cookie": b"a=\xe9", "Server": b"\xf0\x9f\x92\xa9", "Via": b"\xff\xfe"}
    yield response(200, headers, target.body)


def control_characters(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"ETag": b'"a\x00b"', "X-Null": b"\x00"}, target.body)


def folded_header(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"X-Folded": "a\r\n b\r\n\tc"}, target.body)


def published_in_future(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"Last-Modified": "Fri, 31 Dec 2100 23:59:59 GMT"}, target.body)


def published_in_1970(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}, target.body)


def invalid_date(target: Target) -> Iterator[Action]:
    yield response(200, JSON | {"Last-Modified": "Mon, 01 Jan 0001 00:00:00 +2359"}, target.body)


def block_page(_target: Target) -> Iterator[Action]:
    yield response(200, HTML, BLOCK_PAGE)


def block_page_as_json(_target: Target) -> Iterator[Action]:
    yield response(200, JSON, BLOCK_PAGE)


def forbidden(_target: Target) -> Iterator[Action]:
    yield response(403, HTML, BLOCK_PAGE)


def wrong_content_type(target: Target) -> Iterator[Action]:
    yield response(200, {"Content-Type": "image/png"}, target.body)


def too_many_requests(_target: Target) -> Iterator[Action]:
    yield response(429, {"Retry-After": "2"}, b"slow down")


def unavailable(_target: Target) -> Iterator[Action]:
    yield response(503, HTML, b"<html>busy</html>")


def unavailable_for_years(_target: Target) -> Iterator[Action]:
    yield response(503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, b"busy")


def unavailable_without_end(_target: Target) -> Iterator[Action]:
    yield head(503, {"Transfer-Encoding": "chunked"})
    while True:
        yield chunk(b"a" * 65536)


def no_content(_target: Target) -> Iterator[Action]:
    yield head(204, {})


def partial_content(target: Target) -> Iterator[Action]:
    half = target.body[: len(target.body) // 2]
    yield response(206, JSON | {"Content-Range": f"bytes 0-{len(half) - 1}/{len(target.body)}"}, half)


def unknown_status(target: Target) -> Iterator[Action]:
    yield response(999, JSON, target.body)


def unrequested_not_modified(_target: Target) -> Iterator[Action]:
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
    Attack("no-content", "status 204", no_content),
    Attack("partial-content", "status 206, which was not requested", partial_content),
    Attack("unknown-status", "status 999", unknown_status),
    Attack("unrequested-not-modified", "status 304, whether requested or not", unrequested_not_modified),
)
