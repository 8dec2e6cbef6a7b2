"""Validates URLs, query parameters, idempotency keys and bodies before an endpoint sees them."""

from __future__ import annotations

import re
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, get_args
from urllib.parse import unquote_plus

import orjson
from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import AwareDatetime
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.ops.idempotency import KEY_DESCRIPTION, is_key
from shared.runtime.api.problems import problem_of

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 32
# Reads up to this much of a body that is too large before refusing it: a client that still sends reads no response.
MAX_DRAINED_BYTES = 64 * 1024 * 1024
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
NO_BODY: Any = None
_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class UrlMiddleware:
    """Refuses URLs with %00, which PostgreSQL's text type cannot store."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            query = unquote_plus(scope["query_string"].decode("latin-1"))
            if "\0" in scope["path"] or "\0" in query:
                refusal = HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "the URL must not contain %00")
                await problem_of(HTTPConnection(scope), refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyMiddleware:
    """Reads and checks the body of a change: JSON of at most MAX_BODY_BYTES and MAX_DEPTH levels.

    Stores the decoded body in `request.state.body`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READ_METHODS:
            await self._app(scope, receive, send)
            return
        request, headers = HTTPConnection(scope), Headers(scope=scope)
        try:
            _check_key(headers)
            body = await _read(headers, receive)
            request.state.body = _json(headers, body)
        except HTTPException as error:
            await problem_of(request, error)(scope, receive, send)
            return
        except _DisconnectedError:
            return
        await self._app(scope, _receive_again(body, receive), send)


async def require_known_parameters(request: Request) -> None:
    """Refuses query parameters that would be ignored or misread.

    An unknown parameter is refused because a misspelled filter would filter nothing. A bare number for a time is
    refused because 20260131 would be read as a day in 1970.
    """
    known = _query_parameters(request.scope["route"].dependant)
    if unknown := sorted(set(request.query_params) - set(known)):
        allowed = f"expected {', '.join(sorted(known))}" if known else "this endpoint has no parameters"
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"no such parameter: {', '.join(map(repr, unknown))}; {allowed}"
        )
    for name, value in request.query_params.multi_items():
        if _is_time(known[name]) and not _DATED.match(value):
            raise HTTPException(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"query.{name}: expected 2026-01-31 or 2026-01-31T09:00:00Z"
            )


class _DisconnectedError(Exception):
    """The client closed the connection."""


def _query_parameters(dependant: Dependant) -> dict[str, Any]:
    """Names and annotations of the query parameters of an endpoint and its dependencies."""
    known = {field.alias: field.field_info.annotation for field in dependant.query_params}
    for inner in dependant.dependencies:
        known |= _query_parameters(inner)
    return known


def _is_time(annotation: Any) -> bool:
    """Tells whether the annotation allows a date or a time."""
    return annotation in (date, datetime, AwareDatetime) or any(map(_is_time, get_args(annotation)))


def _check_key(headers: Headers) -> None:
    keys = headers.getlist("idempotency-key")
    if len(keys) > 1 or not all(is_key(key) for key in keys):
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"Idempotency-Key: expected one, {KEY_DESCRIPTION}")


async def _read(headers: Headers, receive: Receive) -> bytes:
    announced = headers.get("content-length", "")
    if "expect" in headers and announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()  # a client that waits for 100 Continue has not sent the body yet
    chunks: list[bytes] = []
    size, more = 0, True
    while more and size <= MAX_DRAINED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _DisconnectedError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        more = message.get("more_body", False)
    if size > MAX_BODY_BYTES:
        raise _too_large()
    return b"".join(chunks)


def _too_large() -> HTTPException:
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes; split the request"
    )


def _json(headers: Headers, body: bytes) -> Any:
    if not body:
        return NO_BODY
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as JSON, with Content-Type: application/json"
        )
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is not valid JSON in UTF-8 ({error}); correct it"
        ) from None
    _check_value(value)
    return value


def _check_value(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise HTTPException(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is nested deeper than {MAX_DEPTH} levels; flatten it"
            )
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                below += each
            elif isinstance(each, str) and "\0" in each:
                raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "a string must not contain \\u0000")
        level = below


def _receive_again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body that was read, then the server's further messages."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
