"""JSON Schemas as Markdown: the type of a value in words, and a table of an object's fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]
_CODE = re.compile(r"(`[^`]*`)")
_LIMITS = {
    "minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}",
    "minLength": "at least {} characters", "maxLength": "at most {} characters", "minItems": "at least {} elements",
    "maxItems": "at most {} elements", "pattern": "matches `{}`", "default": "default `{}`",
}  # fmt: skip


def schema_page(name: str, document: Schema) -> str:
    """The page of a record's JSON Schema: its own fields, or its variants, and the definitions that they refer to."""
    return "\n\n".join(
        [
            f"# {name}",
            f"JSON Schema: [{name}.json]({name}.json)",
            *_body(document),
            *definitions(document.get("$defs", {})),
        ]
    )


def definitions(schemas: Mapping[str, Schema], level: int = 2) -> list[str]:
    """A section for each schema, whose heading is the target of `type_of`'s links."""
    return [part for name, schema in sorted(schemas.items()) for part in (f"{'#' * level} {name}", *_body(schema))]


def type_of(schema: Schema) -> str:
    """The type of a value in words, with links to definitions of the same page."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            text = f"[{name}](#{name.lower()})"
        case {"const": value}:
            text = _literal(value)
        case {"enum": values}:
            text = ", ".join(map(_literal, values))
        case {"anyOf": choices} | {"oneOf": choices}:
            text = " or ".join(map(type_of, choices))
        case {"type": "array"}:
            text = f"array of {type_of(schema.get('items', {}))}"
        case {"type": "object", "additionalProperties": dict(values)}:
            text = f"object with values of {type_of(values)}"
        case {"type": str(kind)}:
            text = f"{kind} ({schema['format']})" if "format" in schema else kind
        case _:
            text = "any"
    return text


def fields_table(rows: Iterable[tuple[str, Schema, bool]], heading: str = "field") -> str:
    """A table of (name as Markdown, schema, whether it is required)."""
    lines = [f"| {heading} | type | |", "| --- | --- | --- |"]
    for name, schema, required in rows:
        kind = escape(type_of(schema), links=True) + ("" if required else ", optional")
        lines.append(f"| {name} | {kind} | {_meaning(schema)} |")
    return "\n".join(lines)


def escape(text: str, links: bool = False) -> str:
    """Text for a cell of a table: one line, with special characters escaped except in code. `links` keeps its links."""
    special = r"([*_<>|])" if links else r"([*_<>|\[\]])"
    parts = _CODE.split(" ".join(text.split()))
    return "".join(
        part.replace("|", "\\|") if part.startswith("`") else re.sub(special, r"\\\1", part) for part in parts
    )


def example_of(schema: Schema) -> str:
    """The first example of a schema as a block of code; empty if it has none."""
    if not (examples := schema.get("examples")):
        return ""
    return f"```json\n{json.dumps(examples[0], indent=2, ensure_ascii=False)}\n```"


def _literal(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _body(schema: Schema) -> list[str]:
    required = schema.get("required", ())
    properties = [(f"`{name}`", value, name in required) for name, value in schema.get("properties", {}).items()]
    parts = [
        escape(schema.get("description", "")),
        fields_table(properties) if properties else f"Type: {type_of(schema)}",
        example_of(schema),
    ]
    return [part for part in parts if part]


def _meaning(schema: Schema) -> str:
    """The description of a field, its limits and its default."""
    variants = [schema, *schema.get("anyOf", ()), schema.get("items", {})]
    limits = [
        text.format(json.dumps(each[key], ensure_ascii=False) if key == "default" else each[key])
        for each in variants
        for key, text in _LIMITS.items()
        if key in each
    ]
    return escape("; ".join(part for part in (schema.get("description", ""), *dict.fromkeys(limits)) if part))
