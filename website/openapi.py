"""An OpenAPI document as a Markdown page: the endpoints by tag, then the schemas of their bodies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from website.json_schema import definitions, escape, example_of, fields_table, type_of

Document = Mapping[str, Any]
_PROBLEM = "application/problem+json"


class Endpoint(NamedTuple):
    tag: str
    method: str
    path: str
    operation: Document


def openapi_page(service: str, document: Document) -> str:
    """The page of a service's REST API."""
    info = document["info"]
    parts = [f"# {info['title']}", info["description"].strip(), f"OpenAPI document: [{service}.json]({service}.json)"]
    if common := document["components"].get("parameters"):
        parts += ["Every endpoint below /v1 accepts these parameters too:", _parameters_table(common.values())]
    tag = ""
    for endpoint in sorted(_endpoints(document), key=lambda endpoint: endpoint.tag):
        if endpoint.tag != tag:
            tag = endpoint.tag
            parts.append(f"## {_title(tag)}")
        parts += _endpoint_parts(endpoint, document)
    schemas = document["components"]["schemas"]
    return "\n\n".join([*parts, "## Schemas", *definitions(schemas, level=3)])


def _endpoints(document: Document) -> Iterator[Endpoint]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Endpoint(operation["tags"][0], method.upper(), path, operation)


def _endpoint_parts(endpoint: Endpoint, document: Document) -> list[str]:
    operation = endpoint.operation
    token = "" if operation.get("security") else " (no token)"
    parts = [f"### {operation['summary']}", f"`{endpoint.method} {endpoint.path}`{token}"]
    if description := operation.get("description"):
        parts.append(escape(description))
    if parameters := [each for each in operation.get("parameters", ()) if "$ref" not in each]:
        parts.append(_parameters_table(parameters))
    if body := operation.get("requestBody"):
        parts += _body_parts(body, document)
    return [*parts, _responses_table(operation["responses"])]


def _parameters_table(parameters: Iterable[Document]) -> str:
    rows = [
        (f"`{each['name']}` ({each['in']})", {**each["schema"], "description": each.get("description", "")}, each)
        for each in parameters
    ]
    return fields_table([(name, schema, each.get("required", False)) for name, schema, each in rows], "parameter")


def _body_parts(body: Document, document: Document) -> list[str]:
    [content] = body["content"].values()
    optional = "" if body.get("required") else ", optional"
    example = example_of(content) or example_of(_resolved(content["schema"], document))
    return [f"Body: {type_of(content['schema'])}{optional}", *([example] if example else [])]


def _responses_table(responses: Document) -> str:
    """One row for each success, one for all problems."""
    lines = ["| status | response | |", "| --- | --- | --- |"]
    problems = list[str]()
    for status, response in responses.items():
        content = response.get("content", {})
        if _PROBLEM in content:
            problems.append(status)
            continue
        bodies = " or ".join(
            type_of(each["schema"]) if each.get("schema") else f"`{media}`" for media, each in content.items()
        )
        headers = ", ".join(f"`{name}`" for name in response.get("headers", {}))
        description = response.get("description", "").removeprefix("Successful Response")
        meaning = "; ".join(part for part in (description, f"headers: {headers}" if headers else "") if part)
        lines.append(f"| {status} | {escape(bodies, links=True) or '–'} | {escape(meaning)} |")
    if problems:
        lines.append(f"| {', '.join(problems)} | [Problem](#problem) | |")
    return "\n".join(lines)


def _resolved(part: Document, document: Document) -> Document:
    """The part itself, or the component that it refers to."""
    if "$ref" not in part:
        return part
    component: Any = document
    for key in part["$ref"].removeprefix("#/").split("/"):
        component = component[key]
    return dict(component)


def _title(tag: str) -> str:
    return tag[:1].upper() + tag[1:].replace("-", " ").replace("_", " ")
