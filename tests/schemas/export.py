"""python -m tests.schemas.export: writes the JSON Schema of every message to docs/schemas."""

from __future__ import annotations

import json
from pathlib import Path

from shared.events import MESSAGE_TYPES

DIRECTORY = Path(__file__).parents[2] / "docs" / "schemas"


def file_name(schema: str) -> str:
    """The file of a schema: raw-event/1 -> raw-event.1.json."""
    return f"{schema.replace('/', '.')}.json"


def schema_text(schema: str) -> str:
    """The JSON Schema (2020-12) of a record's value."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"headrace:{schema}"}
    document |= MESSAGE_TYPES[schema].json_schema(mode="validation")
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def export(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for schema in MESSAGE_TYPES:
        (directory / file_name(schema)).write_text(schema_text(schema), encoding="utf-8")


if __name__ == "__main__":
    export(DIRECTORY)
