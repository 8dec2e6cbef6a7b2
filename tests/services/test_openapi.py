"""Every endpoint of every service is fully described, requires a token, and responds as described to any request."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as openapi_checks

from headrace.database.embedded import EmbeddedPostgres
from shared.runtime.api.server import AdminServer
from shared.topics import SERVICES
from tests.services.apps import app_of, document_text, operations, server_of
from tests.shared.generated import WRITE
from tests.shared.runtime.api.admin_apps import (
    FILE_TOKEN,
    UNREACHABLE_DATABASE,
    as_role,
    assert_problem,
    auth_headers,
    create_token,
)
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.slow
DOCUMENTS = Path(__file__).parents[2] / "docs" / "openapi"
EXAMPLES = 5
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
]
# Words that are no standard terms. A participle needs its noun, and a letter is a dead letter.
NO_TERMS = frozenset(
    [
        *("asked", "begun", "chosen", "counted", "found", "given", "happened", "happening", "judged", "kept", "listed"),
        *("listing", "look", "made", "meant", "one", "said", "seen", "stepped", "taken", "told", "whole", "wish"),
    ]
)
VERBS = frozenset(
    [
        *("accept", "acknowledge", "end"),
        *("cancel", "check", "count", "delete", "discard", "explain", "get", "list", "pause", "promote", "redrive"),
        *("hold", "release", "reload", "reset", "resume", "retire", "retry", "roll", "send", "shadow", "skip", "start"),
    ]
)
each_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture
def document(service: str, tmp_path: Path) -> dict[str, Any]:
    with app_of(service, UNREACHABLE_DATABASE, tmp_path, None) as app:
        return app.openapi()


@pytest.fixture
def server(service: str, postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> Iterator[AdminServer]:
    login = as_role(postgres, database_url, f"headrace_{service}")
    with server_of(service, database_url, login, tmp_path, FILE_TOKEN) as server:
        yield server


@each_service
def test_the_exported_document_matches_the_code(service: str, tmp_path: Path) -> None:
    file = DOCUMENTS / f"{service}.json"
    with app_of(service, UNREACHABLE_DATABASE, tmp_path, None) as app:
        expected = document_text(app)

    if os.environ.get(WRITE) == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(expected, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == expected, f"{file.name} is outdated; {WRITE}=1 rewrites it"


@each_service
def test_every_endpoint_is_described_with_examples_and_errors(service: str, document: dict[str, Any]) -> None:
    missing = [
        f"{method} {path} lacks {part}"
        for method, path, operation in operations(document)
        for part, present in _parts(document, method, path, operation).items()
        if not present
    ]

    assert missing == []


@each_service
def test_every_schema_has_a_standard_name(service: str, document: dict[str, Any]) -> None:
    names = [name for name in document["components"]["schemas"] if not _is_term(re.findall(r"[A-Z]+[a-z0-9]*", name))]

    assert names == []


@each_service
def test_every_operation_id_is_a_verb_and_a_noun(service: str, document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert [each for each in ids if not (_is_verb_noun(each) and _is_term(each.split("_")))] == []
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ["listing", "one", "get", "topics", "get_one", "getTopic", "one_topic", "get_letter"])
def test_an_operation_id_without_verb_and_noun_is_detected(name: str) -> None:
    assert not (_is_verb_noun(name) and _is_term(name.split("_")))


@each_service
def test_every_endpoint_below_v1_requires_a_token_and_every_change_the_scope_operate(
    service: str, server: AdminServer, database: psycopg.Connection[Any]
) -> None:
    read_only = auth_headers(create_token(database, "viewer", "read"))
    with httpx2.Client(base_url=server.url, timeout=DEADLINE_S) as client:
        endpoints = [each for each in operations(client.get("/openapi.json").json()) if each[1].startswith("/v1")]
        for method, template, _ in endpoints:
            path = re.sub(r"\{\w+\}", "1", template)

            response = client.request(method, path)
            assert_problem(response, 401, "unauthorized")
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert_problem(client.request(method, path, headers=auth_headers("guess")), 401, "unauthorized")
            if method != "GET":
                assert "scope operate" in assert_problem(
                    client.request(method, path, headers=read_only), 403, "forbidden"
                )

    assert {path for _, path, _ in endpoints} >= {"/v1/status", "/v1/topics", "/v1/lag", "/v1/operations", "/v1/audit"}


@each_service
def test_a_method_that_an_endpoint_does_not_allow_is_refused_with_the_allowed_ones(
    service: str, server: AdminServer
) -> None:
    with httpx2.Client(base_url=server.url, headers=auth_headers(FILE_TOKEN), timeout=DEADLINE_S) as client:
        templates = [(method, path) for method, path, _ in operations(client.get("/openapi.json").json())]
        for example in {re.sub(r"\{\w+\}", "1", path) for _, path in templates}:
            # /topics/pause also matches /topics/{topic}.
            allowed = {method for method, path in templates if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), example)}
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
                response = client.request(method, example)

                assert_problem(response, 405, "method-not-allowed")
                assert set(response.headers["allow"].split(", ")) == allowed


@each_service
def test_every_response_to_any_request_matches_the_description(service: str, server: AdminServer) -> None:
    document = httpx2.get(f"{server.url}/openapi.json", timeout=DEADLINE_S).json()
    schema = schemathesis.openapi.from_dict(_without_authentication(document))
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE))
        def answers_as_described(case: Any) -> None:
            case.call_and_validate(server.url, headers=auth_headers(FILE_TOKEN), checks=CHECKS)

        answers_as_described()


def _is_verb_noun(name: str) -> bool:
    return re.fullmatch(r"[a-z]+(_[a-z]+)+", name) is not None and name.split("_", maxsplit=1)[0] in VERBS


def _is_term(words: list[str]) -> bool:
    lower = [word.lower() for word in words]
    letters = {"letter", "letters"}
    return NO_TERMS.isdisjoint(lower) and all(
        i > 0 and lower[i - 1] == "dead" for i, word in enumerate(lower) if word in letters
    )


def _without_authentication(document: dict[str, Any]) -> dict[str, Any]:
    """Without the security scheme and the headers of delegates, because the test itself sends the token of no delegate:
    a generated person would end most requests with 403."""
    for _, _, operation in operations(document):
        operation.pop("security", None)
        operation["parameters"] = [each for each in operation.get("parameters", []) if "$ref" not in each]
    return document


def _parts(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> dict[str, bool]:
    """The parts that the description of an endpoint must have, and whether it has them."""
    protected, responses = path.startswith("/v1/"), operation["responses"]
    parameters = [_resolved(document, each) for each in operation.get("parameters", [])]
    needed = {"422", "500"} | ({"400", "401", "403", "503"} if protected else set())
    needed |= {"413", "415"} if method != "GET" else set()
    errors = [response for status, response in responses.items() if status >= "400"]
    return {
        "a summary": bool(operation.get("summary")),
        "a description": bool(operation.get("description")),
        "an example answer": _has_example(document, _successful_contents(operation)),
        "an example body": "requestBody" not in operation
        or _has_example(document, operation["requestBody"]["content"]),
        "its errors": needed <= set(responses),
        "problems as errors": all(set(response["content"]) == {"application/problem+json"} for response in errors),
        "examples of its parameters": all(
            {"example", "examples"} & (set(each) | set(each["schema"]))
            for each in parameters
            if each["name"] != "Idempotency-Key"  # with an example, all requests would send the same key
        ),
        "the security scheme": not protected or operation.get("security") == [{"bearer": []}],
        "the idempotency key": method != "POST" or "Idempotency-Key" in [each["name"] for each in parameters],
        "the headers of delegates": not protected
        or {"On-Behalf-Of", "On-Behalf-Of-Scope"} <= {each["name"] for each in parameters},
    }


def _resolved(document: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    """The parameter itself, or the common one to which it refers."""
    if "$ref" not in parameter:
        return parameter
    common: dict[str, Any] = document["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
    return common


def _successful_contents(operation: dict[str, Any]) -> dict[str, Any]:
    """The contents of its successful responses, by media type."""
    return {
        kind: content
        for status, response in operation["responses"].items()
        if status.startswith("2")
        for kind, content in response.get("content", {}).items()
    }


def _has_example(document: dict[str, Any], content: dict[str, Any]) -> bool:
    return bool(content) and all(
        "example" in each or "examples" in each or _schema_has_examples(document, each.get("schema", {}))
        for each in content.values()
    )


def _schema_has_examples(document: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether the schema, the schema to which it refers, or each of its parts has examples."""
    if "$ref" in schema:
        return _schema_has_examples(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    parts = schema.get("anyOf") or schema.get("oneOf") or ([schema["items"]] if "items" in schema else [])
    parts = [part for part in parts if part != {"type": "null"}]
    return "examples" in schema or (bool(parts) and all(_schema_has_examples(document, part) for part in parts))
