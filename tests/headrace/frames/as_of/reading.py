"""Reads the views as frames do, over a connection of psycopg: also in a transaction that is rolled back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pandas as pd
import psycopg
import pyarrow as pa
from pandas.testing import assert_frame_equal
from psycopg.types.json import set_json_loads

from headrace.frames.as_of.past import WITHOUT_PAST, Read
from headrace.frames.as_of.snapshot import AsOf
from headrace.frames.catalogue import VIEWS, View
from headrace.frames.connection import Snapshot
from headrace.frames.query import Filters, columns_of, statement_of
from headrace.frames.typed import columns_named, encode, frame_of
from headrace.frames.views import Columns, Views

Connection = psycopg.Connection[Any]
COMPARED = [name for name in VIEWS if name not in WITHOUT_PAST]


def reader_of(connection: Connection) -> Read:
    """Reads rows that the connection's transaction has written and not committed.

    The server's own ANALYZE sees none of them and notes that the tables are empty. A join then takes hours.
    """
    tables = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'facts'::regnamespace"
    )
    connection.execute(f"ANALYZE {', '.join(name for (name,) in tables.fetchall())}".encode())

    def read(statement: str) -> Snapshot:
        with connection.cursor() as cursor:
            set_json_loads(_text, cursor)
            cursor.execute(statement.encode())
            rows = cursor.fetchall()
            names = [column.name for column in cursor.description or ()]
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return Snapshot(pa.table(dict(zip(names, map(_array, columns), strict=True))), datetime.now(UTC))

    return read


def _text(json: str | bytes) -> str:
    return json if isinstance(json, str) else json.decode()


def _array(values: tuple[Any, ...]) -> pa.Array:
    return pa.array([str(value) if isinstance(value, UUID) else value for value in values])


class Now(Views):
    """The views as they are in the database."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def view_frame(self, view: View, filters: Filters, columns: Columns) -> pd.DataFrame:
        named = columns_named(view, columns_of(view, columns))
        table = self._read(statement_of(view, filters, [column.name for column in named])).table
        batches = [encode(batch, named) for batch in table.to_batches()] or [encode(_empty(table), named)]
        return frame_of(pa.Table.from_batches(batches), named)


def _empty(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in table.schema], schema=table.schema)


def frames_now(connection: Connection, **selection: Any) -> dict[str, pd.DataFrame]:
    views = Now(reader_of(connection))
    return {name: getattr(views, name)(**_selection(name, selection)) for name in COMPARED}


def frames_as_of(connection: Connection, instant: datetime, **selection: Any) -> dict[str, pd.DataFrame]:
    views = AsOf(reader_of(connection), instant)
    return {name: getattr(views, name)(**_selection(name, selection)) for name in COMPARED}


def assert_equal(actual: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    assert actual.keys() == expected.keys()
    for name, frame in expected.items():
        assert_frame_equal(actual[name], frame, obj=name)


def _selection(name: str, selection: dict[str, Any]) -> dict[str, Any]:
    """Days select no rows of reference data and of return rates."""
    has_days = VIEWS[name].scope.value not in {"source", "time"}
    return selection if has_days else {}
