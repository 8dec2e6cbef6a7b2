"""The OpenAPI document: what holds for every endpoint below /v1 is written into it here, once."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from shared.ops.idempotency import KEPT_H, KEY_PATTERN, WHAT_A_KEY_IS
from shared.runtime.api.auth import PROTECTED, READING
from shared.runtime.api.problems import Problem, responses

DESCRIPTION = f"""\
Everything below {PROTECTED} needs a bearer token: scope `read` to look, scope `operate` to change anything. Every error
is a problem (RFC 9457, application/problem+json) whose `detail` says what to do. What takes longer than an answer is an
operation: 202, with `Location` and `Retry-After`. A POST with an `Idempotency-Key` happens once: the same request with
the same key gets the first answer again, for {KEPT_H} hours. A key belongs to one service: at another one it is a new
request.
"""
_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "the token of admin.token_file (scope admin), or one that `headrace token create` gave out",
    }
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": f"{WHAT_A_KEY_IS}, such as replay-of-monday-7; the request happens once under it at this service",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}
_OF_ANY, _OF_A_CHANGE = (401, 422, 500, 503), (403, 413, 415)


def complete(app: FastAPI) -> None:
    """Made once, here; the problems of all endpoints share one schema."""
    document = app.openapi()
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    document["components"]["securitySchemes"] = _SECURITY
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(operation, method.upper(), protected=path.startswith(f"{PROTECTED}/"))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _complete(operation: dict[str, Any], method: str, *, protected: bool) -> None:
    statuses = (*_OF_ANY, *(() if method in READING else _OF_A_CHANGE)) if protected else (422, 500)
    named = {str(status): said for status, said in responses(*statuses).items()}
    # FastAPI's own 422 gives way to ours.
    found = {status: said for status, said in operation["responses"].items() if status not in named or status == "503"}
    operation["responses"] = dict(sorted((named | found).items()))
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _never_null(parameter["schema"])
    if protected:
        operation["security"] = [{"bearer": []}]
        if method == "POST":
            operation.setdefault("parameters", []).append(_KEY)


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left away; no URL says null."""
    some = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(some) != 1:
        return schema
    return {**{name: said for name, said in schema.items() if name != "anyOf"}, **some[0]}
