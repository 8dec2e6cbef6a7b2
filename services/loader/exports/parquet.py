"""Turns a staged CSV file into a Parquet file with the same rows. Needs the extra `parquet`.

Columns have the types of their view: integers of the same width, doubles, booleans, timestamps in microseconds with
zone UTC, dates, lists of text. A JSON column is text that contains the JSON: its keys differ between sources and days,
and a type made from them would differ between the files of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from services.loader.exports.arrow_types import arrow_type, parse_array
from services.loader.exports.manifest import PARTITION_COLUMN
from services.loader.exports.target import ExportError

# Bytes of CSV in memory at a time.
BLOCK_BYTES = 4 << 20
# Rows are collected to groups of this size. Readers skip or read a group as a whole.
ROW_GROUP_ROWS = 100_000


def write_parquet(csv_file: Path, types: Mapping[str, str], parquet_file: Path) -> None:
    """`types`: the PostgreSQL type of each column in order. The column of the partition is left out.

    Raises ExportError for a value that Parquet cannot hold, such as an infinite time.
    """
    schema = pa.schema([(name, arrow_type(type_name)) for name, type_name in types.items() if name != PARTITION_COLUMN])
    try:
        _write_groups(_batches(csv_file, schema), schema, parquet_file)
    except pa.ArrowInvalid as error:
        raise ExportError(f"{csv_file.stem}: {error}") from None


def _write_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema, parquet_file: Path) -> None:
    with pyarrow.parquet.ParquetWriter(parquet_file, schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(each.num_rows for each in waiting) >= ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting = []
        writer.write_table(pa.Table.from_batches(waiting, schema))


def _batches(csv_file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows in blocks. In the CSV of PostgreSQL an empty value is null unless it is quoted."""
    conversion = pyarrow.csv.ConvertOptions(
        include_columns=schema.names,
        column_types={field.name: pa.string() if pa.types.is_list(field.type) else field.type for field in schema},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    with pyarrow.csv.open_csv(
        csv_file,
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=conversion,
    ) as reader:
        for batch in reader:
            columns = [_typed(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _typed(column: pa.Array, data_type: pa.DataType) -> pa.Array:
    """Arrays arrive as text, all others with their type."""
    if not pa.types.is_list(data_type):
        return column
    return pa.array([parse_array(text) for text in column.to_pylist()], data_type)
