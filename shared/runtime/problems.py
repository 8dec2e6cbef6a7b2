"""Errors over HTTP as RFC 9457 problems: stable type, title, status, what to do, and the request's id."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import TransientError
from shared.logs import mask_text

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "X-Request-Id"
# Not http.HTTPStatus: its phrases change between versions of Python, and a type must not.
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    422: "Invalid input",
    500: "Internal error",
    503: "Unavailable",
}
# What a caller may name its request; anything else is replaced, for the id goes into headers and logs.
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Problem(BaseModel):
    """The body of every error."""

    type: str = Field(description="stable name of the kind of error", examples=["urn:headrace:problem:not-found"])
    title: str
    status: int
    detail: str = Field(description="what was wrong this time, and what to do")
    request_id: str


def problem_type(status: int) -> str:
    """The stable name of a kind of error: urn:headrace:problem:not-found for 404."""
    return f"urn:headrace:problem:{_title(status).lower().replace(' ', '-')}"


def _title(status: int) -> str:
    return TITLES.get(status, f"Status {status}")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document of a route."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _title(status), "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Make every error of the app a problem, and give every answer its request id."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(TransientError, _of_trouble)
    app.add_exception_handler(Exception, _of_anything)
    app.add_middleware(RequestIds)


class RequestIds:
    """Takes the caller's X-Request-Id or makes one, and sends it back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _ACCEPTED_ID.fullmatch(given) else str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  (the handler is registered for nothing else)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"there is nothing at {request.url.path}; /openapi.json lists what there is"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.url.path} does not take {request.method}; /openapi.json lists what it takes"
    return _answer(request, error.status_code, detail, dict(error.headers or {}))


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (the handler is registered for nothing else)
    wrong = (f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(wrong))


async def _of_trouble(request: Request, error: Exception) -> JSONResponse:
    """A dependency is away; its message may quote an address, but no credentials."""
    return _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, mask_text(str(error)), {"Retry-After": "1"})


async def _of_anything(request: Request, _error: Exception) -> JSONResponse:
    """The error itself goes to the log, not to the caller: it may say what a caller must not know."""
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of the service; its log says more")


def _answer(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    request_id = request.state.request_id
    body = Problem(
        type=problem_type(status),
        title=_title(status),
        status=status,
        detail=detail,
        request_id=request_id,
    )
    named = {**(headers or {}), REQUEST_ID: request_id}
    return JSONResponse(body.model_dump(), status, headers=named, media_type=MEDIA_TYPE)
