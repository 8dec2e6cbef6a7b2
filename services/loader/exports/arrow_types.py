"""The Arrow type of each PostgreSQL type. Needs the extra `parquet`."""

from __future__ import annotations

import re

import pyarrow as pa

_TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "numeric": pa.float64(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", "UTC"),
    "timestamp": pa.timestamp("us"),
    "bytea": pa.binary(),
}
# An element of an array as text: quoted with backslash escapes, or plain.
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)')


def arrow_type(name: str) -> pa.DataType:
    """The type for a PostgreSQL type (`pg_type.typname`; arrays begin with `_`). Other types are text, JSON too.

    The views have no decimals; a sum of a query is one, and becomes a double.
    """
    if name.startswith("_"):
        return pa.list_(arrow_type(name[1:]))
    return _TYPES.get(name, pa.string())


def parse_array(text: str | None) -> list[str | None] | None:
    """The elements of a one-dimensional array of texts as PostgreSQL prints it: {win,"a, b",NULL}."""
    if text is None:
        return None
    return [
        re.sub(r"\\(.)", r"\1", quoted) if plain == "" else None if plain == "NULL" else plain
        for quoted, plain in _ELEMENT.findall(text)
    ]
