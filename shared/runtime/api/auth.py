"""Authenticates and authorizes requests below /v1.

Every request needs a bearer token, and every change a token of scope `operate`. AuthMiddleware checks all of /v1, so
an endpoint declares nothing, unless it needs scope `admin`: `@router.post(..., **ADMIN_ONLY)`. Of the endpoints outside
/v1, /readyz says more to a caller with a token. A delegate token may name the person for whom it acts (On-Behalf-Of);
the person's scope then limits the request too. An endpoint that needs the caller takes it as a parameter:

    from shared.runtime.api.auth import CurrentCaller

    def router(context: AdminContext) -> APIRouter:
        router = APIRouter(prefix="/things", tags=["things"])

        @router.get("", summary="List things", responses=responses(404))
        def list_things(limit: Limit = 100) -> Things:                    # any token
            with context.transaction() as connection:
                return Things(...)

        @router.get("/mine")
        def list_own_things(caller: CurrentCaller) -> Things: ...         # caller.subject, .scope, .request_id

        return router

FastAPI resolves annotations in the module, so parameter types must be module-level names. For POST and PUT endpoints
see idempotent_change.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from shared.errors import TransientError
from shared.ops.delegation import PERSON_FORM, PERSON_SCOPES, parse_person, subject_for
from shared.ops.tokens import Scope, TokenParts, allows, is_secret_of, lesser, parse_token
from shared.runtime.api.context import AdminContext
from shared.runtime.api.problems import TITLES, problem_of
from shared.runtime.api.refusals import Refusals
from shared.runtime.api.token_lookup import TokenLookup

PROTECTED = "/v1"
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FILE_TOKEN = "file token"  # noqa: S105  # a name
CREATE_HINT = "`headrace token create NAME --scope {scope}` makes one"
PERSON_HEADER, PERSON_SCOPE_HEADER = "On-Behalf-Of", "On-Behalf-Of-Scope"
# Statuses of refused changes that the audit trail records. (404 and 405 name nothing that could change.)
RECORDED_STATUSES = frozenset({409, 413, 415, 422})
READINESS = "/readyz"
# The extension of an operation in the OpenAPI document that names the scope it needs, if that is `admin`.
SCOPE_EXTENSION = "x-required-scope"
_CHALLENGE = 'Bearer realm="headrace"'


IsFileToken = Callable[[str], bool]
"""Whether a token is the one in admin.token_file."""


class Caller(NamedTuple):
    """The authenticated caller. `subject` is "token:NAME", or "file token" for the token in admin.token_file; for a
    delegate that acts for a person, "token:NAME on behalf of discord:USERID (name)"."""

    subject: str
    scope: Scope
    request_id: str


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]


def _require_admin(request: Request) -> None:
    request.state.require_scope("admin")


ADMIN_ONLY: Final[Mapping[str, Any]] = {
    "dependencies": [Depends(_require_admin)],
    "openapi_extra": {SCOPE_EXTENSION: "admin"},
}
"""Arguments of a route that only a token of scope `admin` may call."""


class AuthMiddleware:
    """Admits requests below /v1 whose token has the needed scope, and stores the caller in `request.state.caller`."""

    def __init__(self, app: ASGIApp, context: AdminContext, is_file_token: IsFileToken | None) -> None:
        self._app = app
        self._context = context
        self._is_file_token = is_file_token
        self._lookup = TokenLookup(context.find_tokens)
        self._refusals = Refusals(context)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        is_protected = scope["type"] == "http" and _is_protected(scope["path"])
        if not is_protected and (scope.get("path") != READINESS or "authorization" not in headers):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        try:
            token_caller, is_delegate = await self._authenticate(scope, headers, request.state.request_id)
            caller = token_caller
            if PERSON_HEADER in headers or PERSON_SCOPE_HEADER in headers:
                caller = await run_in_threadpool(self._on_behalf, scope, caller, is_delegate, headers)
            request.state.require_scope = partial(self._require, scope, token_caller, caller, headers)
            needed: Scope = "read" if scope["method"] in READ_METHODS or not is_protected else "operate"
            if not allows(caller.scope, needed):
                await run_in_threadpool(request.state.require_scope, needed)
        except (HTTPException, TransientError) as error:
            await problem_of(request, error)(scope, receive, send)
            return
        request.state.caller = caller
        request.state.noted = False
        await self._app(
            scope, receive, send if scope["method"] in READ_METHODS else self._recording(request, caller, send)
        )

    def _recording(self, request: HTTPConnection, caller: Caller, send: Send) -> Send:
        """Records refusals that no endpoint recorded, such as a body of the wrong form."""

        async def send_and_record(message: Message) -> None:
            if (
                message["type"] == "http.response.start"
                and message["status"] in RECORDED_STATUSES
                and not request.state.noted
            ):
                with suppress(TransientError):  # the response is correct even without the audit entry
                    await run_in_threadpool(self._note_invalid, request.scope, caller, message["status"])
            await send(message)

        return send_and_record

    async def _authenticate(self, scope: AsgiScope, headers: Headers, request_id: str) -> tuple[Caller, bool]:
        """The caller, and whether its token is a delegate."""
        token = _bearer(headers)
        if token is None:
            raise self._unauthorized(
                scope,
                "the request has no token: send `Authorization: Bearer TOKEN` with the token in admin.token_file or one"
                f" of the database ({CREATE_HINT.format(scope='read')})",
            )
        if self._is_file_token is not None and self._is_file_token(token):
            return Caller(FILE_TOKEN, "admin", request_id), False
        parts = parse_token(token)
        if parts is None:
            raise self._unauthorized(
                scope,
                "the token is neither the one in admin.token_file nor of the form hr_ID_SECRET"
                f" ({CREATE_HINT.format(scope='read')})",
            )
        return await self._caller_of_token(scope, parts, request_id)

    async def _caller_of_token(self, scope: AsgiScope, parts: TokenParts, request_id: str) -> tuple[Caller, bool]:
        try:
            known = await self._lookup.find(parts.id)
        except TransientError:  # its text names the host and the role, which are not for strangers
            raise TransientError("the database is unavailable, so the token cannot be checked; try again") from None
        if known is None or not is_secret_of(parts.secret, known.token):
            known_id = None if known is None else parts.id
            raise self._unauthorized(
                scope, f"this token does not exist ({CREATE_HINT.format(scope='read')})", token_id=known_id
            )
        token, now = known
        if (state := token.state(now)) != "valid":
            hint = CREATE_HINT.format(scope=token.scope)
            raise self._unauthorized(
                scope, f"token {token.name!r} is {state}: use a new one ({hint})", token_id=parts.id
            )
        return Caller(f"token:{token.name}", token.scope, request_id), token.delegate

    def _unauthorized(self, scope: AsgiScope, detail: str, *, token_id: str | None = None) -> HTTPException:
        self._refusals.log_stranger(scope, token_id, detail)
        return HTTPException(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": _CHALLENGE})

    def _on_behalf(self, scope: AsgiScope, caller: Caller, is_delegate: bool, headers: Headers) -> Caller:
        """The person whom a delegate names, as the caller. Notes every refusal."""
        if not is_delegate:
            self._note(scope, caller, f"forbidden: {PERSON_HEADER} needs a delegate token")
            raise HTTPException(
                HTTPStatus.FORBIDDEN,
                f"{caller.subject} may not act on behalf of a person: send no {PERSON_HEADER}, or use a delegate token"
                " (`headrace token create NAME --scope operate --delegate` makes one)",
            )
        persons, scopes = headers.getlist(PERSON_HEADER), headers.getlist(PERSON_SCOPE_HEADER)
        person = parse_person(persons[0]) if len(persons) == 1 else None
        limit = next((each for each in PERSON_SCOPES if [each] == scopes), None)
        if person is None or (scopes and limit is None):
            self._note(scope, caller, f"refused (400): invalid {PERSON_HEADER}")
            raise HTTPException(
                HTTPStatus.BAD_REQUEST,
                f"expected one header `{PERSON_HEADER}: {PERSON_FORM}` and at most one"
                f" `{PERSON_SCOPE_HEADER}: {'|'.join(PERSON_SCOPES)}`",
            )
        limited = caller.scope if limit is None else lesser(caller.scope, limit)
        return Caller(subject_for(caller.subject, person), limited, caller.request_id)

    def _require(self, scope: AsgiScope, token: Caller, caller: Caller, headers: Headers, needed: Scope) -> None:
        """Raises HTTPException 403, after noting it, if the caller's scope does not include `needed`."""
        if allows(caller.scope, needed):
            return
        # A token that may only read can name any number of people, so its refusals count as its own.
        counted_as = token if token.scope == "read" else caller
        HTTPConnection(scope).state.noted = True
        self._note(scope, caller, f"forbidden: needs scope {needed}, has {caller.scope}", counted_as)
        for_person = PERSON_HEADER in headers
        hint = f"the lesser of token and {PERSON_SCOPE_HEADER}" if for_person else CREATE_HINT.format(scope=needed)
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            f"this request needs a token of scope {needed}; {caller.subject} has scope {caller.scope} ({hint})",
        )

    def _note(self, scope: AsgiScope, caller: Caller, outcome: str, counted_as: Caller | None = None) -> None:
        subject = (counted_as or caller).subject
        self._refusals.append(scope, caller.subject, caller.request_id, outcome, counted_as=subject)

    def _note_invalid(self, scope: AsgiScope, caller: Caller, status: int) -> None:
        outcome, counted_as = f"refused ({status}): {TITLES[status]}", f"{caller.subject} {status}"
        self._refusals.append(scope, caller.subject, caller.request_id, outcome, counted_as=counted_as)


def _is_protected(path: str) -> bool:
    return path == PROTECTED or path.startswith(f"{PROTECTED}/")


def _bearer(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None
