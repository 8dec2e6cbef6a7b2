"""Reads facts from PostgreSQL into frames: all settled history for training, a batch of events for serving.

The role needs SELECT on `analytics`, and on the ids of `facts.predictions`. Each read sees one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pandas as pd
import psycopg
from psycopg.types.json import set_json_loads

from services.predictor import postgres_queries as queries
from services.predictor.facts import PAST_STARTS, Cards, Season, Told
from shared.broker.contract import DbConnection
from shared.broker.postgres_link import Link
from shared.errors import TransientError

Connection = psycopg.Connection[Any]

# Rows of training history in memory as Python objects at a time; a whole archive has 236,160 entries.
CHUNK = 10_000

_EVENTS = ("event_key", "session_key", "number", "distance_m", "status", "conditions",
           "listed_us", "observed_us", "settled_us", "scheduled_us")  # fmt: skip
_STARTS = ("entity_key", "event_key", "venue", "slot", "course", "place", "timing_s", "settled_us")
_CODES = ("weather", "wind_direction")


class PostgresFacts:
    """Facts for serving."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def cards(self, event_keys: Sequence[str]) -> Cards:
        with self._reading() as connection:
            return read_cards(connection, event_keys)

    def told(self, event_keys: Sequence[str]) -> list[Told]:
        with self._reading() as connection:
            return read_told(connection, event_keys)

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        with self._reading() as connection:
            found = connection.execute(queries.PREDICTIONS_LOADED, {"ids": list(predictions)}).fetchall()
        return frozenset(row[0] for row in found)

    def close(self) -> None:
        self._link.drop()

    @contextmanager
    def _reading(self) -> Iterator[DbConnection]:
        try:
            with self._link.use() as connection:
                yield connection
        except TransientError as error:
            raise TransientError(f"cannot read facts: {error}") from error


def read_cards(connection: Connection, event_keys: Sequence[str]) -> Cards:
    """Those of the events that are listed, in the order of their start; six queries however many there are."""
    keys = {"keys": list(event_keys)}
    with _snapshot(connection):
        events = _frame(connection, queries.EVENTS_OF, keys, _EVENTS)
        sessions = {"sessions": events["session_key"].unique().tolist()}
        events = _with_sessions(events, _sessions(connection, queries.SESSIONS_OF, sessions))
        entries = _expanded(connection, queries.ENTRIES_OF, keys)
        observations = _expanded(connection, queries.OBSERVATIONS_OF, keys)
        starts = _frame(connection, queries.STARTS_OF, {**keys, "most": PAST_STARTS}, _STARTS)
    return _cards(events, entries, observations, starts)


def read_season(connection: Connection, market: str, until: date | None = None) -> Season:
    """Every settled event up to and with the day `until`; `market` is the one whose amounts are the trend."""
    with _snapshot(connection):
        events = _frame(connection, queries.EVENTS_SETTLED, {}, _EVENTS)
        events = _with_sessions(events, _sessions(connection, queries.SESSIONS, {}))
        if until is not None:
            events = events[events["day"] <= until.isoformat()].reset_index(drop=True)
        entries = _expanded(connection, queries.ENTRIES_SETTLED, {})
        observations = _expanded(connection, queries.OBSERVATIONS_SETTLED, {})
        outcomes = _frame(
            connection, queries.OUTCOMES_SETTLED, {}, ("event_key", "slot", "place", "course", "timing_s")
        )
        amounts = _frame(connection, queries.AMOUNTS, {"market": market}, ("event_key", "amount"))
    outcomes = _numbers(_placed(outcomes, events), ("place", "course", "timing_s"))
    amount = amounts.drop_duplicates("event_key").set_index("event_key")["amount"]
    return Season(
        cards=_cards(events, entries, observations, _starts(events, entries[0], outcomes)),
        days=events["day"],
        outcomes=outcomes,
        amounts=amount.reindex(events["event_key"]).to_numpy(np.float64),
    )


def read_told(connection: Connection, event_keys: Sequence[str] | None = None) -> list[Told]:
    """Of these events, or of all: what was told before they started, and who won."""
    if event_keys is None:
        rows = connection.execute(queries.TOLD).fetchall()
    else:
        rows = connection.execute(queries.TOLD_OF, {"keys": list(event_keys)}).fetchall()
    return [
        Told(key, state, {row[2]: row[3] for row in group}, group[0][4])
        for (key, state), group in ((ids, list(found)) for ids, found in groupby(rows, lambda row: row[:2]))
    ]


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """One transaction that sees one state of the tables: a correction in between must not mix two versions."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _starts(events: pd.DataFrame, entries: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """The same starts that queries.STARTS_OF finds one by one, of everybody."""
    took_part = outcomes[outcomes["place"].notna() | outcomes["course"].notna()]
    who = entries.loc[entries["entity_key"].notna(), ["event_key", "slot", "entity_key"]]
    starts = took_part.drop(columns="event").merge(who, on=["event_key", "slot"])
    return starts.merge(events[["event_key", "venue", "settled_us"]], on="event_key")[list(_STARTS)]


def _cards(
    events: pd.DataFrame,
    entries: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    observations: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    starts: pd.DataFrame,
) -> Cards:
    conditions = pd.DataFrame([found or {} for found in events["conditions"]], index=events.index)
    numbers = [name for name in conditions.columns if name not in _CODES]
    codes = conditions.reindex(columns=[name for name in _CODES if name in conditions.columns])
    places = _placed(entries[0], events)
    seen = _placed(observations[0], events)
    return Cards(
        events=_numbers(events.drop(columns=["conditions", "session_key"]), ("distance_m", "grade", *_EVENTS[6:])),
        codes=pd.DataFrame({"grade": _texts(events["grade"]), **{name: _texts(codes[name]) for name in codes}}),
        conditions=_numbers(conditions[numbers], tuple(numbers)),
        entries=places.reset_index(drop=True),
        measures=entries[1].loc[places.index].reset_index(drop=True),
        categories=entries[2].loc[places.index].reset_index(drop=True),
        observations=_numbers(seen.reset_index(drop=True), ("course",)),
        observed=observations[1].loc[seen.index].reset_index(drop=True),
        starts=_numbers(starts, _STARTS[2:]),
    )


def _sessions(connection: Connection, query: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
    return _frame(connection, query, parameters, ("session_key", "venue", "grade", "day"))


def _with_sessions(events: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    return events.merge(sessions, on="session_key", how="left", validate="many_to_one")


def _placed(frame: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Rows of these events only, with `event` as their row in `events`."""
    row = pd.Index(events["event_key"]).get_indexer(pd.Index(frame["event_key"]))
    placed: pd.DataFrame = frame.assign(event=row)[row >= 0]
    return placed


def _frame(connection: Connection, query: str, parameters: Mapping[str, Any], columns: Sequence[str]) -> pd.DataFrame:
    with connection.cursor() as cursor:
        set_json_loads(orjson.loads, cursor)
        return pd.DataFrame(cursor.execute(query, parameters).fetchall(), columns=list(columns))


def _expanded(
    connection: Connection, query: str, parameters: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(event_key, slot and one more), the measures as numbers, and the categories (entries only) as text."""
    chunks = [
        (
            pd.DataFrame([row[:3] for row in rows], columns=["event_key", "slot", "third"]),
            pd.DataFrame([row[3] for row in rows]).astype(np.float64),
            pd.DataFrame([_as_text(row[4]) if len(row) > 4 else {} for row in rows], dtype=object),
        )
        for rows in _chunks(connection, query, parameters)
    ]
    name = "entity_key" if query in (queries.ENTRIES_OF, queries.ENTRIES_SETTLED) else "course"
    if not chunks:
        empty = pd.DataFrame(index=pd.RangeIndex(0))
        return pd.DataFrame(columns=["event_key", "slot", name], dtype=object), empty, empty
    heads, measures, categories = (pd.concat(parts, ignore_index=True) for parts in zip(*chunks, strict=True))
    return heads.rename(columns={"third": name}), measures, categories


def _chunks(connection: Connection, query: str, parameters: Mapping[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
    with connection.cursor("rows") as cursor:
        set_json_loads(orjson.loads, cursor)
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(CHUNK):
            yield rows


def _as_text(categories: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in categories.items() if value is not None}


def _texts(column: pd.Series[Any]) -> pd.Series[Any]:
    """Codes as text, None for unknown; a column of integers that has gaps came as floats."""
    found = [None if pd.isna(value) else f"{value:g}" for value in column]
    return pd.Series(found, index=column.index, dtype=object)


def _numbers(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].astype(np.float64) for name in columns})
