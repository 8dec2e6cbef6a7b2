"""Turns every error into an RFC 9457 problem: a stable type, title, status, what to do, and the request id."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BrokerError, ConfigError, NotReady, TransientError
from shared.logs import mask_text
from shared.ops.operations import NotPossible

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "X-Request-Id"
# http.HTTPStatus is not used: its phrases change between Python versions, and problem types must be stable.
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Body too large",
    414: "URL too long",
    415: "Not JSON",
    421: "Misdirected request",
    422: "Invalid input",
    431: "Headers too large",
    500: "Internal error",
    501: "Not implemented",
    503: "Unavailable",
}
# The only title that differs from its status's: this 503 passes by itself, others may need an operator.
NOT_READY = "Not ready"
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
# Request ids go into headers and logs, so any other value is replaced.
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Problem(BaseModel):
    """The body of every error response."""

    type: str = Field(description="stable identifier of the kind of error", examples=["urn:headrace:problem:not-found"])
    title: str
    status: int
    detail: str = Field(description="what was wrong with this request, and what to do")
    request_id: str


def problem_type(status: int) -> str:
    """The stable type of a status: urn:headrace:problem:not-found for 404."""
    return _type_of(_title(status))


def _type_of(title: str) -> str:
    return f"urn:headrace:problem:{title.lower().replace(' ', '-')}"


def _title(status: int) -> str:
    return TITLES.get(status, f"Status {status}")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for error statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _title(status), "content": content} for status in statuses}


def problem_bytes(status: int, detail: str, request_id: str) -> bytes:
    """The body of a problem, for a response that does not come from the app."""
    title = _title(status)
    problem = Problem(type=_type_of(title), title=title, status=status, detail=detail, request_id=request_id)
    return problem.model_dump_json().encode()


def install(app: FastAPI) -> None:
    """Turns every error of the app into a problem, and adds the request id to every response."""
    for expected in (HTTPException, RequestValidationError, *_STATUS_OF):
        app.add_exception_handler(expected, _handle_expected)
    app.add_exception_handler(Exception, _handle_unexpected)
    app.add_middleware(RequestIdMiddleware)


class RequestIdMiddleware:
    """Takes the caller's X-Request-Id or generates one, and returns it in the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = received if _ACCEPTED_ID.fullmatch(received) else str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


# Errors raised on purpose, and their statuses.
_STATUS_OF: dict[type[Exception], HTTPStatus] = {
    NotPossible: HTTPStatus.CONFLICT,
    ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
    psycopg.DataError: HTTPStatus.UNPROCESSABLE_ENTITY,  # a number or text that no column holds
    TransientError: HTTPStatus.SERVICE_UNAVAILABLE,
    BrokerError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_and_detail(error: Exception) -> tuple[int, str]:
    """The status and the detail for the caller. The detail may contain an address, but credentials are masked."""
    if isinstance(error, HTTPException):
        return error.status_code, error.detail
    if isinstance(error, RequestValidationError):
        wrong = (f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
        return HTTPStatus.UNPROCESSABLE_ENTITY, f"{'; '.join(wrong)}; see /openapi.json for what is expected"
    for expected, status in _STATUS_OF.items():
        if isinstance(error, expected):
            return status, mask_text(str(error))
    return HTTPStatus.INTERNAL_SERVER_ERROR, "internal error of the service; see its log"


def problem_of(request: HTTPConnection, error: Exception) -> JSONResponse:
    """The response to a request that failed with this error."""
    status, detail = status_and_detail(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", "1")
    path = request.url.path
    if status == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"no endpoint at {path}; /openapi.json lists all endpoints"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request)) or headers.get("Allow", "GET")
        detail = f"{path} does not support {request.scope['method']}; use {headers['Allow']}"
    title = NOT_READY if isinstance(error, NotReady) else _title(status)
    return _response(request, status, title, detail, headers)


async def _handle_expected(request: Request, error: Exception) -> JSONResponse:
    return problem_of(request, error)


async def _handle_unexpected(request: Request, error: Exception) -> JSONResponse:
    """The error itself goes to the log, not to the caller: it may contain internal data."""
    answer = problem_of(request, error)
    answer.headers["Connection"] = "close"  # the server closes the connection, so clients must not reuse it
    return answer


def _allowed(request: HTTPConnection) -> list[str]:
    """All methods of the path: the router's own Allow header names only those of the first matching route."""
    routes: list[BaseRoute] = request.app.routes

    def is_supported(method: str) -> bool:
        return any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in routes)

    return [method for method in _METHODS if is_supported(method)]


def _response(request: HTTPConnection, status: int, title: str, detail: str, headers: dict[str, str]) -> JSONResponse:
    request_id = request.state.request_id
    body = Problem(type=_type_of(title), title=title, status=status, detail=detail, request_id=request_id)
    return JSONResponse(body.model_dump(), status, headers={**headers, REQUEST_ID: request_id}, media_type=MEDIA_TYPE)
