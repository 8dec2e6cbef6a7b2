"""Turns Arrow tables into DataFrames with the catalogue's data types, also without rows.

Categories arrive as text in each row. `encode` replaces them by dictionaries batch by batch, so that the text of all
rows is never in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from headrace.frames.catalogue import Column, View

UTC = "datetime64[us, UTC]"
_TEXT = pd.StringDtype(na_value=float("nan"))
_PANDAS: dict[pa.DataType, Any] = {
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.string(): _TEXT,
    pa.large_string(): _TEXT,
}


def arrow_type(column: Column) -> pa.DataType:
    """The type of a column in the Arrow table of a view."""
    if column.is_category:
        return pa.dictionary(pa.int32(), pa.string())
    return _ARROW[column.sql_type]


_ARROW = {
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "uuid": pa.string(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "jsonb": pa.string(),
    "text[]": pa.list_(pa.string()),
}


def encode(batch: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    """A batch with the types of `arrow_type`: categories as dictionaries, ids and JSON as text."""
    arrays = [_encoded(array, column) for array, column in zip(batch.columns, columns, strict=True)]
    fields = [pa.field(column.name, arrow_type(column)) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _encoded(array: pa.Array, column: Column) -> pa.Array:
    wanted = arrow_type(column)
    if column.is_category:
        return array if pa.types.is_dictionary(array.type) else pc.dictionary_encode(plain(array))
    bare = plain(array)
    return bare if bare.type == wanted else bare.cast(wanted)


def plain(array: pa.Array) -> pa.Array:
    """Extension types without their extension: JSON and numbers as text, ids as their usual text."""
    if isinstance(array.type, pa.UuidType):
        return pa.array([None if each is None else str(each) for each in array.to_pylist()], pa.string())
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def frame_of(table: pa.Table, columns: Sequence[Column], zone: str | None = None) -> pd.DataFrame:
    """A DataFrame of a view's rows. Releases the table's columns one by one: the caller must not use it again."""
    data: dict[str, Any] = {}
    for column in columns:
        chunks = table.column(column.name)
        table = table.drop_columns([column.name])
        data[column.name] = _series(chunks, column)
    frame = pd.DataFrame(data, copy=False)
    return frame if zone is None else in_zone(frame, zone)


def _series(chunks: pa.ChunkedArray, column: Column) -> Any:
    if column.is_category:
        return categorical(chunks, column.values)
    if column.is_json:
        return _objects(chunks, orjson.loads)
    if column.sql_type == "date":
        return pd.Series(chunks.cast(pa.timestamp("s")).to_pandas())
    return series_of(chunks)


def series_of(chunks: pa.ChunkedArray) -> Any:
    """A column with the type that its Arrow type has in all frames."""
    kind = chunks.type
    if pa.types.is_list(kind):
        return _objects(chunks, None)
    if pa.types.is_boolean(kind) and chunks.null_count:
        return chunks.to_pandas(types_mapper={kind: pd.BooleanDtype()}.get)
    return chunks.to_pandas(types_mapper=_PANDAS.get)


def frame_of_query(table: pa.Table, zone: str | None = None) -> pd.DataFrame:
    """A DataFrame of any query: `numeric` becomes float64, JSON objects, ids and other types text."""
    data = [_query_column(table.column(position)) for position in range(table.num_columns)]
    frame = pd.DataFrame(dict(enumerate(data)), copy=False)
    frame.columns = pd.Index(table.column_names)
    return frame if zone is None else in_zone(frame, zone)


def _query_column(chunks: pa.ChunkedArray) -> Any:
    kind = chunks.type
    bare = pa.chunked_array([plain(each) for each in chunks.chunks], None if chunks.num_chunks else _storage(kind))
    if isinstance(kind, pa.JsonType):
        return _objects(bare, orjson.loads)
    if isinstance(kind, pa.OpaqueType) and kind.type_name == "numeric":
        return bare.cast(pa.float64()).to_pandas()
    if pa.types.is_date32(kind):
        return bare.cast(pa.timestamp("s")).to_pandas()
    return series_of(bare)


def _storage(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.UuidType):
        return pa.string()
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def categorical(chunks: pa.ChunkedArray, values: Iterable[str] = ()) -> pd.Categorical:
    """Categories in the order of the vocabulary, then, sorted, what is not in it."""
    if not pa.types.is_dictionary(chunks.type):
        chunks = chunks.dictionary_encode()
    array = pa.chunked_array(chunks.chunks, chunks.type).unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], chunks.type)
    known = list(values)
    others = sorted(each for each in array.dictionary.to_pylist() if each not in known)
    categories = known + others
    position = {name: index for index, name in enumerate(categories)}
    codes = pd.array([position[name] for name in array.dictionary.to_pylist()] or [0], dtype="int32").to_numpy()
    indices = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    dtype = pd.CategoricalDtype(pd.Index(categories, dtype="str"))
    translated = codes[indices]
    translated[indices < 0] = -1
    return pd.Categorical.from_codes(cast("Sequence[int]", translated), dtype=dtype)


def in_zone(frame: pd.DataFrame, zone: str) -> pd.DataFrame:
    """The frame with its times in a zone."""
    times = [name for name in frame.columns if isinstance(frame[name].dtype, pd.DatetimeTZDtype)]
    return frame.assign(**{name: frame[name].dt.tz_convert(zone) for name in times})


def _objects(chunks: pa.ChunkedArray, load: Any) -> pd.Series[Any]:
    values = chunks.to_pylist()
    if load is not None:
        values = [None if value is None else load(value) for value in values]
    return pd.Series(values, dtype="object")


def columns_named(view: View, names: Sequence[str]) -> list[Column]:
    return [view.column(name) for name in names]
