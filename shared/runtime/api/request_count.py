"""Counts the requests of the admin app by method, template of the route and status."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.runtime.api.auth import PROTECTED

CountRequest = Callable[[str, str, int], None]
"""Called with the method, the route's template and the status of each response."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER, NO_ROUTE = "other", "none"


class RequestCountMiddleware:
    """The outermost middleware: it also counts requests that another one refuses before they reach a route."""

    def __init__(self, app: ASGIApp, count_request: CountRequest) -> None:
        self._app = app
        self._count_request = count_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count_request(method, template_of(scope), message["status"])
            await send(message)

        await self._app(scope, receive, send_and_count)


def template_of(scope: Scope) -> str:
    """The template of the route that answered the request. If it reached none, the top of its path: /v1 or `none`."""
    is_below = scope["path"].startswith(f"{PROTECTED}/")
    route = scope.get("route")
    if route is None:
        return PROTECTED if is_below else NO_ROUTE
    path: str = route.path
    # Some versions of FastAPI leave the prefix out of the path of an included route.
    return PROTECTED + path if is_below and not path.startswith(f"{PROTECTED}/") else path
