"""Turns Kubernetes' OpenAPI document into the JSON Schemas that `kubeconform -strict` reads.

Each resource gets a file KIND-GROUP-VERSION.json, which refers to one file of definitions. The schemas are strict: an
unknown field is an error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DEFINITIONS = "_definitions.json"
# Types that JSON can write in two ways.
_UNIONS: dict[str, list[str]] = {"IntOrString": ["string", "integer"], "Quantity": ["string", "number"]}
_KIND = "x-kubernetes-group-version-kind"


def write_schemas(document: dict[str, Any], directory: Path) -> int:
    """Returns the number of resources."""
    directory.mkdir(parents=True)
    definitions = {name: strict(name, definition) for name, definition in document["definitions"].items()}
    (directory / DEFINITIONS).write_text(json.dumps({"definitions": definitions}))
    resources = {file_name(kind): name for name, kind in _resources(document["definitions"])}
    for file, name in resources.items():
        kind = document["definitions"][name][_KIND][0]
        identity = {"apiVersion": {"const": api_version(kind)}, "kind": {"const": kind["kind"]}}
        schema = definitions[name] | {
            "properties": definitions[name]["properties"] | identity,
            "required": sorted({*definitions[name].get("required", []), *identity}),
        }
        (directory / file).write_text(json.dumps(schema).replace('"#/definitions/', f'"{DEFINITIONS}#/definitions/'))
    return len(resources)


def strict(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """A definition that refuses unknown fields, and accepts null for optional ones."""
    if (short := name.rpartition(".")[2]) in _UNIONS:
        return {"type": _UNIONS[short]}
    if "properties" not in definition:
        return definition
    required = definition.get("required", [])
    properties = {
        key: field if key in required else {"anyOf": [field, {"type": "null"}]}
        for key, field in definition["properties"].items()
    }
    return {"additionalProperties": False} | definition | {"properties": properties}


def file_name(kind: dict[str, str]) -> str:
    """As kubeconform builds it: the first part of the group only."""
    parts = (kind["kind"].lower(), kind["group"].split(".")[0], kind["version"])
    return "-".join(part for part in parts if part) + ".json"


def api_version(kind: dict[str, str]) -> str:
    return "/".join(part for part in (kind["group"], kind["version"]) if part)


def _resources(definitions: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Definitions of one kind; options that belong to many kinds have several."""
    return [
        (name, definition[_KIND][0])
        for name, definition in definitions.items()
        if len(definition.get(_KIND, [])) == 1 and "properties" in definition
    ]
