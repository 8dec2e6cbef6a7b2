"""Renders settings: all that exist (docs/settings.md) and their effective values (`headrace config show`)."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from shared.logs import mask_text
from shared.settings.sections import Settings
from shared.settings.sources import SettingField, setting_fields


class SettingRow(NamedTuple):
    key: str
    type: str
    default: str
    description: str


def describe(model: type[BaseModel]) -> list[SettingRow]:
    """One row for each setting of a model. Raises ValueError for a setting without a description."""
    return [
        SettingRow(leaf.key, _type(leaf.field.annotation), _default(leaf.field), _description(leaf))
        for leaf in setting_fields(model)
    ]


def markdown_table(rows: list[SettingRow]) -> str:
    """Rows as a Markdown table."""
    lines = [f"| `{row.key}` | {row.type} | {row.default} | {row.description} |" for row in rows]
    return "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *lines, ""])


def effective_values(settings: Settings) -> dict[str, Any]:
    """The effective values by key, as JSON types. A secret is shown as its file's name, a URL without credentials."""
    values: dict[str, Any] = {}
    for leaf in setting_fields(type(settings)):
        value: Any = settings
        for name in leaf.path:
            value = getattr(value, name, None)  # an optional section may be None
        plain = to_jsonable_python(value)
        values[leaf.key] = mask_text(plain) if isinstance(plain, str) else plain
    return values


def _description(leaf: SettingField) -> str:
    if not leaf.field.description:
        raise ValueError(f"{leaf.key} has no description")
    return leaf.field.description


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "shown" in extra:
        return f"`{extra['shown']}`"
    if field.is_required():
        return "required"
    value = to_jsonable_python(field.get_default(call_default_factory=False))
    if value is None:
        return ""
    if isinstance(value, list):
        return f"`{', '.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


_NAMES = {
    "str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path", "date": "day",
    "datetime": "instant", "AwareDatetime": "instant",
}  # fmt: skip


def _type(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(each) for each in arguments if each is not type(None))
    return _NAMES[kind.__name__]
