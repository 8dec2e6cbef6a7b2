"""docs/security.md has the requests that need scope `admin`, and the networks and secrets of each container."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml

from shared.ops.delegation import PERSON_SCOPES
from shared.ops.tokens import Scope
from shared.runtime.api.auth import READ_METHODS
from shared.topics import SERVICES
from tests.shared.generated import compare

SCOPE = "x-required-scope"


def admin_requests(repository: Path) -> dict[str, list[str]]:
    """The services that have each request that needs scope `admin`."""
    requests: dict[str, list[str]] = {}
    for service in SERVICES:
        document = json.loads((repository / "docs" / "openapi" / f"{service}.json").read_text(encoding="utf-8"))
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if isinstance(operation, dict) and operation.get(SCOPE) == "admin":
                    requests.setdefault(f"{method.upper()} {path}", []).append(service)
    return requests


def needed_scopes(repository: Path) -> dict[str, set[str]]:
    """The methods of the documents' requests by the scope that they need."""
    scopes: dict[str, set[str]] = {"read": set(), "operate": set(), "admin": set()}
    for service in SERVICES:
        document = json.loads((repository / "docs" / "openapi" / f"{service}.json").read_text(encoding="utf-8"))
        for operations in document["paths"].values():
            for method, operation in operations.items():
                if isinstance(operation, dict) and operation.get("security") != []:
                    scope = operation.get(SCOPE) or ("read" if method.upper() in READ_METHODS else "operate")
                    scopes[scope].add(method.upper())
    return scopes


def tokens_table(repository: Path) -> str:
    """The scopes as the API declares them; each one may do what those before it may."""
    methods = needed_scopes(repository)
    assert list(methods) == list(get_args(Scope))
    lines = ["| token | may |", "| --- | --- |"]
    for number, scope in enumerate(methods):
        more = f"what `{list(methods)[number - 1]}` may, and " if number else ""
        which = ", ".join(f"`{method}`" for method in sorted(methods[scope]))
        requests = f"{which} requests below `/v1`" if scope != "admin" else "the requests of the table below"
        lines.append(f"| scope `{scope}` | {more}{requests} |")
    people = ", ".join(f"`{scope}`" for scope in PERSON_SCOPES)
    lines.append(f"| delegate | what its scope may, for a person whom each request names with a scope of {people} |")
    lines.append("| the one in `admin.token_file` | what `admin` may, at the services that have this file |")
    return "\n".join(lines)


def scopes_table(repository: Path) -> str:
    lines = ["| request that needs scope `admin` | services |", "| --- | --- |"]
    for request, services in admin_requests(repository).items():
        lines.append(f"| `{request}` | {'all' if len(services) == len(SERVICES) else ', '.join(services)} |")
    return "\n".join(lines)


def containers_table(repository: Path) -> str:
    compose = yaml.safe_load((repository / "deploy" / "docker-compose.yml").read_text(encoding="utf-8"))
    lines = ["| container | networks | secrets | ports on 127.0.0.1 |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(cells)} |" for cells in _containers(compose["services"])]
    return "\n".join(lines)


def _containers(containers: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    for name, container in containers.items():
        ports = [port.removeprefix("127.0.0.1:").partition(":")[0] or "any free" for port in container.get("ports", [])]
        cells = (container.get("networks", []), [f"`{each}`" for each in container.get("secrets", [])], ports)
        yield [name, *(", ".join(cell) or "none" for cell in cells)]


def test_the_document_has_what_needs_the_scope_admin(repository: Path) -> None:
    requests = admin_requests(repository)

    assert "POST /v1/models/{version}/delete" in requests
    compare(repository / "docs" / "security.md", "scopes", scopes_table(repository))


def test_the_document_has_what_each_scope_may(repository: Path) -> None:
    compare(repository / "docs" / "security.md", "tokens", tokens_table(repository))


def test_the_document_has_the_containers(repository: Path) -> None:
    compare(repository / "docs" / "security.md", "containers", containers_table(repository))
