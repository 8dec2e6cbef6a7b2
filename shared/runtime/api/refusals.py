"""Notes refused requests: those of strangers in the log, those of tokens in the audit trail, both throttled.

All refusals are counted (headrace_http_requests_total). The trail is for changes, so callers that may not make any must
not be able to fill it.
"""

from __future__ import annotations

from functools import cached_property

import structlog
from fastapi import FastAPI
from starlette.types import Scope

from shared.ops.tables import audit as audit_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.throttle import NoteThrottle, address_class

# The audit trail keeps this many characters of a request line, because paths may be long.
MAX_TARGET_CHARS = 300
_OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger(__name__)


class Refusals:
    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._strangers = NoteThrottle()
        self._callers = NoteThrottle()
        self._app: FastAPI | None = None

    def log_stranger(self, scope: Scope, token_id: str | None, detail: str) -> None:
        """Logs a request without a valid token, once a minute for each id of a token that exists; without one, for each
        network of clients."""
        client = address_class(scope["client"][0] if scope.get("client") else "")
        suppressed = self._strangers.count(client if token_id is None else token_id)
        if suppressed is not None:
            log.warning("request_unauthorized", client=client, token_id=token_id, cause=detail, suppressed=suppressed)

    def append(self, scope: Scope, subject: str, request_id: str, outcome: str, *, counted_as: str) -> None:
        """Appends a refusal to the trail, once a minute for each `counted_as` and kind of target, with the number of
        lines that were left out since the last one."""
        suppressed = self._callers.count((counted_as, self._kind_of_target(scope)))
        if suppressed is None:
            return
        with self._context.transaction() as connection:
            audit_table.append(
                connection, self._context.service, subject, "request",
                f"{scope['method']} {scope['path']}"[:MAX_TARGET_CHARS],
                after={"suppressed": suppressed} if suppressed else None, outcome=outcome, request_id=request_id,
            )  # fmt: skip

    def _kind_of_target(self, scope: Scope) -> str:
        """The method and the first part of the path, if they exist: callers choose the rest freely."""
        self._app = scope["app"]
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        part = next(iter(scope["path"].split("/")[2:3]), "")
        return f"{method} {part if part in self._parts else _OTHER}"

    @cached_property
    def _parts(self) -> frozenset[str]:
        paths = {} if self._app is None else self._app.openapi()["paths"]
        return frozenset(path.split("/")[2] for path in paths if path.count("/") >= 2)
