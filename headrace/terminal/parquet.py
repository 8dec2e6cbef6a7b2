"""Writes the rows of a query as Parquet, in groups, so that memory is bounded. Needs the extra `parquet`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from headrace.database.queries import QueryRows
from services.loader.exports.arrow_types import arrow_type
from shared.errors import ConfigError

# Rows in memory at a time, and the size of a row group.
GROUP_ROWS = 50_000

TextOf = Callable[[Any], str]


def write_parquet(query: QueryRows, file: str, text: TextOf) -> int:
    """Write the rows to a file, which appears when it is complete, or to standard output (`-`). Returns their number.

    `text`: the text of a value whose type Parquet does not have. Raises ConfigError if standard output is a terminal.
    """
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in zip(query.columns, query.types, strict=True)])
    count = 0
    with _sink(file) as sink, pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        while rows := list(islice(query.rows, GROUP_ROWS)):
            writer.write_table(_table(rows, schema, text))
            count += len(rows)
    return count


@contextmanager
def _sink(file: str) -> Iterator[Any]:
    if file == "-":
        if sys.stdout.isatty():
            raise ConfigError("--parquet -: Parquet is not for a terminal; name a file, or send the output to a pipe")
        sys.stdout.flush()
        yield pa.PythonFile(sys.stdout.buffer, mode="w")
        return
    path = Path(file)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield str(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema, text: TextOf) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array([_plain(value, field.type, text) for value in column], field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _plain(value: Any, data_type: pa.DataType, text: TextOf) -> Any:
    if value is None or isinstance(value, str):
        return value
    if pa.types.is_list(data_type):
        return [_plain(each, data_type.value_type, text) for each in value]
    if pa.types.is_string(data_type):
        return text(value)
    return float(value) if isinstance(value, Decimal) else value
