"""Turns JSON Schemas of custom resources into CustomResourceDefinitions.

The schemas refuse unknown fields. A definition does not: the API server drops them, or refuses them if asked to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = (
    "Cluster", "Database", "DatabaseRole", "ExternalSecret", "HTTPRoute", "Kafka", "KafkaNodePool", "KafkaTopic",
    "KafkaUser", "PodMonitor", "PrometheusRule", "ScaledObject", "ScheduledBackup", "ServiceMonitor",
    "TriggerAuthentication",
)  # fmt: skip
_LISTS = ("allOf", "anyOf", "oneOf")
_SCHEMAS = ("items", "additionalProperties", "not")


def definitions_of(directory: Path) -> dict[str, Any]:
    """One List with the definition of each schema GROUP/KIND_VERSION.json."""
    return {"apiVersion": "v1", "kind": "List", "items": list(_definitions(directory))}


def structural(schema: Any) -> Any:
    """The schema without `additionalProperties: false`, which a definition must not contain."""
    if not isinstance(schema, dict):
        return schema
    changed = dict(schema)
    if changed.get("additionalProperties") is False or "properties" in changed:
        changed.pop("additionalProperties", None)
    for key in _SCHEMAS:
        if key in changed:
            changed[key] = structural(changed[key])
    for key in _LISTS:
        if key in changed:
            changed[key] = [structural(each) for each in changed[key]]
    if "properties" in changed:
        changed["properties"] = {name: structural(each) for name, each in changed["properties"].items()}
    return changed


def _definitions(directory: Path) -> Iterator[dict[str, Any]]:
    kinds = {kind.lower(): kind for kind in KINDS}
    for file in sorted(directory.glob("*/*.json")):
        singular, _, version = file.stem.rpartition("_")
        group, kind, plural = file.parent.name, kinds[singular], f"{singular}s"
        schema = {"type": "object"} | structural(json.loads(file.read_text()))
        schema["properties"]["metadata"] = {"type": "object"}
        subresources: dict[str, Any] = {"subresources": {"status": {}}} if "status" in schema["properties"] else {}
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            # Groups of Kubernetes' own projects need the annotation.
            "metadata": {
                "name": f"{plural}.{group}",
                "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
            },
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular},
                "versions": [
                    {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
                    | subresources
                ],
            },
        }
