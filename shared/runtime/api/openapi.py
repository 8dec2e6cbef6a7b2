"""Completes the OpenAPI document with what is common to all endpoints: errors, security, Idempotency-Key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from shared.ops.delegation import MAX_NAME_CHARS, PERSON_PATTERN, PERSON_SCOPES
from shared.ops.idempotency import KEY_DESCRIPTION, KEY_PATTERN, RETENTION_H
from shared.runtime.api.auth import PERSON_HEADER, PERSON_SCOPE_HEADER, PROTECTED, READ_METHODS, SCOPE_EXTENSION
from shared.runtime.api.problems import Problem, responses

DESCRIPTION = f"""\
Every endpoint below {PROTECTED} needs a bearer token: scope `read` for reading, scope `operate` for changes, scope
`admin` where the endpoint says so. Every error is a problem document (RFC 9457, application/problem+json) whose
`detail` says what to do. Work that outlasts the request is an operation: the response is 202 with `Location` and
`Retry-After`. A POST with an `Idempotency-Key` is applied once: the same request with the same key gets the stored
response for {RETENTION_H} hours. A key is valid at one service only; another service treats it as a new key. A delegate
token may name the person for whom it acts (`{PERSON_HEADER}`); the person is then the author in the audit trail and of
operations.
"""
_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "the token in admin.token_file (scope admin), or one from `headrace token create`",
    }
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": f"{KEY_DESCRIPTION}, for example replay-of-monday-7; this service applies the request once",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}
_PERSON_PARAMETERS: dict[str, dict[str, Any]] = {
    "OnBehalfOf": {
        "name": PERSON_HEADER,
        "in": "header",
        "required": False,
        "description": "the person for whom a delegate token acts: discord:USERID (NAME), with NAME as percent-encoded"
        f" UTF-8; the trail keeps {MAX_NAME_CHARS} printable characters of it. 400: any other form, or sent twice; 403:"
        " the token is no delegate",
        "schema": {"type": "string", "pattern": PERSON_PATTERN},
        "example": "discord:222222222222222222 (Ada%20L.)",
    },
    "OnBehalfOfScope": {
        "name": PERSON_SCOPE_HEADER,
        "in": "header",
        "required": False,
        "description": f"the person's scope, only together with {PERSON_HEADER}; the request gets the lesser of it and"
        " the token's scope, which is also the default",
        "schema": {"type": "string", "enum": list(PERSON_SCOPES)},
        "example": "read",
    },
}
_ERRORS_OF_ALL, _ERRORS_OF_CHANGES = (400, 401, 403, 422, 500, 503), (413, 415)


def complete_document(app: FastAPI) -> None:
    """Makes the app generate its document with the common parts; all errors share one schema.

    The document is generated when it is first requested, because this takes as long as a fifth of a service's start.
    """
    generate = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_common_parts(generate())
        return generate()  # cached by FastAPI

    app.openapi = complete  # type: ignore[method-assign]  # as FastAPI's documentation shows


def _add_common_parts(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    document["components"]["securitySchemes"] = _SECURITY
    document["components"]["parameters"] = _PERSON_PARAMETERS
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(operation, method.upper(), protected=path.startswith(f"{PROTECTED}/"))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _complete(operation: dict[str, Any], method: str, *, protected: bool) -> None:
    statuses = (*_ERRORS_OF_ALL, *(() if method in READ_METHODS else _ERRORS_OF_CHANGES)) if protected else (422, 500)
    common = {str(status): response for status, response in responses(*statuses).items()}
    # The common responses replace those of the endpoint, such as FastAPI's 422. An endpoint may describe its own 503.
    own = {
        status: response
        for status, response in operation["responses"].items()
        if status not in common or status == "503"
    }
    operation["responses"] = dict(sorted((common | own).items()))
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    if operation.get(SCOPE_EXTENSION) is not None:
        operation["description"] += f"\n\nNeeds scope `{operation[SCOPE_EXTENSION]}`."
    if protected:
        operation["security"] = [{"bearer": []}]
        parameters = operation.setdefault("parameters", [])
        if method == "POST":
            parameters.append(_KEY)
        parameters.extend({"$ref": f"#/components/parameters/{name}"} for name in _PERSON_PARAMETERS)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Removes null from a parameter's schema: a URL omits a parameter and cannot contain null."""
    non_null = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(non_null) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **non_null[0]}
