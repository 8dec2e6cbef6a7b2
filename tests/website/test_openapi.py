from __future__ import annotations

from typing import Any

from website.openapi import openapi_page

OK = {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}}}
PROBLEM = {"404": {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}}
DOCUMENT: dict[str, Any] = {
    "info": {"title": "Headrace loader", "description": "Needs a token.\n"},
    "paths": {
        "/v1/things/{id}": {
            "get": {
                "tags": ["dead-letters"],
                "summary": "Get a thing",
                "description": "Returns a_thing, or `a|b`.",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
                    {"$ref": "#/components/parameters/Person"},
                ],
                "responses": OK | PROBLEM,
                "security": [{"bearer": []}],
            },
            "put": {
                "tags": ["dead-letters"],
                "summary": "Put a thing",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}},
                },
                "responses": {"202": {"description": "Accepted", "headers": {"Location": {}}}},
            },
        }
    },
    "components": {
        "parameters": {"Person": {"name": "On-Behalf-Of", "in": "header", "schema": {"type": "string"}}},
        "schemas": {
            "Page": {
                "type": "object",
                "description": "A page.",
                "required": ["lines"],
                "properties": {
                    "lines": {"type": "array", "items": {"type": "string", "maxLength": 9}},
                    "next": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}], "default": None},
                },
                "examples": [{"lines": ["x"]}],
            },
            "Problem": {"type": "object", "additionalProperties": {"type": "number", "format": "double"}},
        },
    },
}


def test_an_endpoint_has_its_parameters_bodies_and_responses() -> None:
    lines = openapi_page("loader", DOCUMENT).splitlines()

    get = lines[lines.index("### Get a thing") : lines.index("### Put a thing")]
    assert get == [
        "### Get a thing", "",
        "`GET /v1/things/{id}`", "",
        r"Returns a\_thing, or `a\|b`.", "",
        "| parameter | type | |",
        "| --- | --- | --- |",
        "| `id` (path) | integer | from 1 |", "",
        "| status | response | |",
        "| --- | --- | --- |",
        "| 200 | [Page](#page) |  |",
        "| 404 | [Problem](#problem) | |", "",
    ]  # fmt: skip
    assert "`PUT /v1/things/{id}` (no token)" in lines
    assert "Body: [Page](#page)" in lines
    assert "| 202 | – | Accepted; headers: `Location` |" in lines


def test_endpoints_are_grouped_and_common_parameters_come_once() -> None:
    page = openapi_page("loader", DOCUMENT)

    assert page.startswith("# Headrace loader\n\nNeeds a token.\n\nOpenAPI document: [loader.json](loader.json)\n")
    assert page.count("## Dead letters\n") == 1
    assert page.count("On-Behalf-Of") == 1


def test_schemas_have_fields_limits_defaults_and_an_example() -> None:
    lines = openapi_page("loader", DOCUMENT).splitlines()

    assert "| `lines` | array of string | at most 9 characters |" in lines
    assert '| `next` | `"a"`, `"b"` or null, optional | default `null` |' in lines
    assert "Type: object with values of number (double)" in lines
    assert '  "lines": [' in lines
