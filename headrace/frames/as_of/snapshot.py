"""The views as they were known at an instant, as DataFrames."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd
import pyarrow as pa

from headrace.frames.as_of.history import HISTORY, history_rows
from headrace.frames.as_of.known_facts import stored_versions
from headrace.frames.as_of.past import ALL_KINDS, Past, Read
from headrace.frames.as_of.statements import versions_statement
from headrace.frames.catalogue import Column, View
from headrace.frames.errors import BadArgument
from headrace.frames.origins import ORIGIN
from headrace.frames.query import Filters, columns_of
from headrace.frames.typed import arrow_type, columns_named, frame_of
from headrace.frames.views import Columns, Views
from services.loader.rows import Row


class AsOf(Views):
    """The methods of the views, with what was known at `instant` in place of what is known now.

    The rows equal those of a database that `headrace run --as-of INSTANT` builds from the same documents: later
    corrections are undone, events that were listed later are absent, and so are facts of events that were not listed
    yet. Predictions are those whose newest fact was known. Reference data is as it is now, because the source does not
    say since when a code is valid. `parked` and `dead_letters` raise BadArgument.

    In a frame's `attrs`, `as_of` is the instant.
    """

    def __init__(
        self, read: Read, instant: dt.datetime, zone: str | None = None, origin: Mapping[str, str] | None = None
    ) -> None:
        """`read` runs one statement as the reader. `instant`: with a time zone. `zone`: of the times in frames.

        `origin`: of the frames (headrace/frames/origins.py).
        """
        self.instant = instant
        self._zone = zone
        self._origin = None if origin is None else {**origin, "as_of": instant.isoformat()}
        self._past = Past(read, instant)

    def __repr__(self) -> str:
        return f"<what was known at {self.instant.isoformat()}>"

    def view_frame(self, view: View, filters: Filters, columns: Columns) -> pd.DataFrame:
        names = columns_of(view, columns)
        table = table_of(view.columns, self._past.rows(view, filters))
        frame = frame_of(table.select(names), columns_named(view, names), self._zone)
        return with_attrs(frame, {"view": view.name, **filters.texts()}, self.instant, self._origin)


def history_frame(read: Read, event_key: str, zone: str | None = None) -> pd.DataFrame:
    """The rows of HISTORY of one event. Raises BadArgument if the event is not listed."""
    if not isinstance(event_key, str):
        raise BadArgument(f"history needs the key of one event, such as boatrace:2026-01-31:07:04; got {event_key!r}")
    snapshot = read(versions_statement(Filters(events=(event_key,)), ALL_KINDS))
    table = snapshot.table
    versions = stored_versions({name: table.column(name).to_pylist() for name in table.column_names})
    if not versions:
        raise BadArgument(
            f"there is no event {event_key!r}: a key is source:date:venue:number, such as boatrace:2026-01-31:07:04;"
            " hr.events(day=...) lists those of a day, hr.parked() facts that wait for their event"
        )
    rows = history_rows(event_key, versions[event_key])
    frame = frame_of(table_of(HISTORY.columns, rows), HISTORY.columns, zone)
    return with_attrs(frame, {"view": HISTORY.name, "event": event_key}, snapshot.as_of)


def with_attrs(
    frame: pd.DataFrame, query: dict[str, str], as_of: dt.datetime, origin: Mapping[str, str] | None = None
) -> pd.DataFrame:
    frame.attrs = {"query": query, "as_of": as_of.astimezone(dt.UTC).isoformat(), "version": version("headrace")}
    if origin is not None:
        frame.attrs[ORIGIN] = dict(origin)
    return frame


def table_of(columns: Sequence[Column], rows: Iterable[Row]) -> pa.Table:
    """Rows as an Arrow table with the types that the views have."""
    values: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [_array(column, of) for column, of in zip(columns, values, strict=True)]
    return pa.table(arrays, schema=pa.schema([pa.field(each.name, arrow_type(each)) for each in columns]))


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    if column.is_category:
        return pa.array(values, pa.string()).dictionary_encode()
    if column.sql_type == "timestamp with time zone":  # beside pandas, pyarrow ignores offsets
        values = [None if value is None else value.astimezone(dt.UTC) for value in values]
    return pa.array(values, arrow_type(column))
