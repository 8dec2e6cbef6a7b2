"""Facts of a made-up source without any fault, and readers of them: from a real database, or from rows in memory."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pandas as pd
import psycopg
import pyarrow as pa

from headrace.frames import typed
from headrace.frames.catalogue import VIEWS
from headrace.quality.reading import ViewReader
from headrace.quality.report import QualityReport, ReportSpan, build_report
from headrace.quality.threshold_file import read_thresholds
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, entry, listed, observed, paid, received, settled

DAY = date(2025, 5, 6)
AS_OF = datetime(2025, 7, 1, tzinfo=UTC)
SLOTS = range(1, 5)
Connection = psycopg.Connection[Any]


def card(number: int = 1, day: date = DAY, venue: int = 7, **overrides: Any) -> Any:
    """An entity has one entry only, in this event."""
    entities = {slot: 1_000_000 * (day - DAY).days + 10_000 * venue + 100 * number + slot for slot in SLOTS}
    entries = tuple(
        entry(slot, abs(entities[slot]) * 2 + (entities[slot] < 0), categories={"class": slot % 2}) for slot in SLOTS
    )
    return listed(number, **{"day": day, "venue": venue, "entries": entries, "card_key": None, **overrides})


def observation(number: int = 1, day: date = DAY, venue: int = 7, **overrides: Any) -> Any:
    """No two events have the same times."""
    base = 6.5 + number / 100 + venue / 1_000 + (day - DAY).days / 10_000
    entries = tuple(
        {"slot": slot, "course": slot, "measures": {"exhibition_time_s": base + slot / 10}} for slot in SLOTS
    )
    known = 30 * (number - 1) - 10
    return observed(number, **{"day": day, "venue": venue, "entries": entries, "known": known, **overrides})


def result(number: int = 1, day: date = DAY, venue: int = 7, **overrides: Any) -> Any:
    """No two events have the same payouts."""
    amount = 100 + 10 * number + 1_000 * venue + 100_000 * ((day - DAY).days % 4)
    transactions = paid(win={"1": amount}, place={"1": 110, "2": 190}, exacta={"1-2": 520})
    known = 30 * (number - 1) + 20
    return settled(number, **{"day": day, "venue": venue, "transactions": transactions, "known": known, **overrides})


def event(number: int = 1, day: date = DAY, venue: int = 7) -> list[Any]:
    return [card(number, day, venue), observation(number, day, venue), result(number, day, venue)]


def load(connection: Connection, facts: Iterable[Any]) -> None:
    """As one batch."""
    with connection.transaction():
        Loader(StillClock(), Metrics()).handle([received(fact) for fact in facts], connection)


def report_of(
    reader: ViewReader, first: date = DAY, last: date = DAY, venue: int | None = None, source: str | None = None
) -> QualityReport:
    return build_report(reader, ReportSpan(first, last, venue, source), read_thresholds())


def row_of(report: QualityReport, measure: str, field: str, venue: int | None = None) -> Mapping[Any, Any]:
    """The only row of a measure and a field, of all venues or of one."""
    rows = report.measures
    is_venue = rows["venue"].isna() if venue is None else rows["venue"] == venue
    [row] = rows[(rows["measure"] == measure) & (rows["field"] == field) & is_venue].to_dict("records")
    return row


class ShuffledReader:
    """Another reader's rows in another order."""

    def __init__(self, reader: ViewReader, seed: int) -> None:
        self._reader = reader
        self._random = random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._reader, name)

        def shuffled(*arguments: Any, **options: Any) -> pd.DataFrame:
            frame = method(*arguments, **options)
            rows: pd.DataFrame = frame.sample(frac=1, random_state=self._random.randrange(1_000)).reset_index(drop=True)
            rows.attrs = frame.attrs
            return rows

        return shuffled


class RowsInMemory:
    """Rows by view, with the data types of the views. Filters nothing: all rows are of the span or before it."""

    def __init__(
        self,
        rows: Mapping[str, Sequence[Mapping[str, Any]]],
        versions: Sequence[Mapping[str, Any]] = (),
        dead_letters: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._rows = rows
        self._versions = versions
        self._dead_letters = dead_letters

    def __getattr__(self, name: str) -> Any:
        if name not in VIEWS:
            raise AttributeError(name)
        return lambda **_options: self._view(name)

    def _view(self, name: str) -> pd.DataFrame:
        columns = VIEWS[name].columns
        schema = pa.schema([pa.field(each.name, typed.arrow_type(each)) for each in columns])
        rows = [{each.name: _plain(row.get(each.name)) for each in columns} for row in self._rows.get(name, ())]
        frame = typed.frame_of(pa.Table.from_pylist(rows, schema), columns)
        frame.attrs = {"as_of": AS_OF.isoformat()}
        return frame

    def sql(self, statement: str) -> pd.DataFrame:
        if "body FROM versions" in statement:
            schema = {"event_key": pa.string(), "known_at": pa.timestamp("us", "UTC"), "body": pa.binary()}
            rows: Sequence[Mapping[str, Any]] = ()
        elif "FROM versions" in statement:
            schema = {"event_key": pa.string(), "kind": pa.string(), "known_at": pa.timestamp("us", "UTC")}
            rows = self._versions
        elif "FROM dead_letters" in statement:
            texts = dict.fromkeys(("service", "key", "error"), pa.string())
            schema, rows = {**texts, "failed_at": pa.timestamp("us", "UTC")}, self._dead_letters
        else:
            schema, rows = dict.fromkeys(("source", "name", "value", "name_of_table"), pa.string()), ()
        return typed.frame_of_query(pa.Table.from_pylist(list(map(dict, rows)), pa.schema(list(schema.items()))))


def _plain(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict) else value
