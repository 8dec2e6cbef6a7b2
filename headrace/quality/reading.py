"""Reads the rows of a report through the methods of a client, and splits them by source."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import orjson
import pandas as pd
import zstandard

from headrace.quality.dataset import Dataset, FieldTable, Kind, codes_of, expand

Integers = int | Sequence[int] | None
Texts = str | Sequence[str] | None
FACT_KINDS = ("listed", "observed", "measured", "settled")
"""Kinds of facts, and `measured`: an observation that has a lane of an entry, so the trial before the event is over."""


class _ViewMethod(Protocol):
    def __call__(
        self,
        *,
        from_day: dt.date | None = None,
        to_day: dt.date | None = None,
        venue: Integers = None,
        source: Texts = None,
    ) -> pd.DataFrame: ...


class ViewReader(Protocol):
    """The methods of `headrace.frames.Headrace` that a report needs."""

    @property
    def sessions(self) -> _ViewMethod: ...
    @property
    def events(self) -> _ViewMethod: ...
    @property
    def entries(self) -> _ViewMethod: ...
    @property
    def observations(self) -> _ViewMethod: ...
    @property
    def outcomes(self) -> _ViewMethod: ...
    @property
    def transactions(self) -> _ViewMethod: ...
    @property
    def corrections(self) -> _ViewMethod: ...
    @property
    def regressions(self) -> _ViewMethod: ...
    @property
    def parked(self) -> _ViewMethod: ...
    def sql(self, statement: str) -> pd.DataFrame: ...


# The rows of JSON columns before a day, by name and value. Statements contain days only, so nothing is escaped.
_EARLIER_CODES = """
SELECT s.source, c.key AS name, c.value, 'entries' AS name_of_table
FROM entries n JOIN events e USING (event_key) JOIN sessions s USING (session_key),
     LATERAL jsonb_each_text(n.categories) c
WHERE s.date < '{day}' GROUP BY 1, 2, 3
UNION ALL
SELECT s.source, c.key, c.value, 'conditions'
FROM events e JOIN sessions s USING (session_key),
     LATERAL (
         SELECT * FROM jsonb_each_text(e.conditions) UNION ALL SELECT * FROM jsonb_each_text(e.observed_conditions)
     ) c
WHERE s.date < '{day}' AND c.key IN ('weather', 'wind_direction') GROUP BY 1, 2, 3
UNION ALL
SELECT s.source, 'technique', e.technique::text, 'events'
FROM events e JOIN sessions s USING (session_key) WHERE s.date < '{day}' AND e.technique IS NOT NULL GROUP BY 1, 3
UNION ALL
SELECT source, 'grade', grade::text, 'sessions' FROM sessions WHERE date < '{day}' AND grade IS NOT NULL GROUP BY 1, 3
UNION ALL
SELECT s.source, 'code', o.code::text, 'outcomes'
FROM outcomes o JOIN events e USING (event_key) JOIN sessions s USING (session_key)
WHERE s.date < '{day}' AND o.code IS NOT NULL GROUP BY 1, 3
"""
_FIRST_KNOWN = """
SELECT event_key, kind, min(known_at) AS known_at FROM versions WHERE date BETWEEN '{first}' AND '{last}' GROUP BY 1, 2
"""
_OBSERVATIONS = """
SELECT event_key, known_at, body FROM versions WHERE kind = 'observed' AND date BETWEEN '{first}' AND '{last}'
"""
_DEAD_LETTERS = "SELECT service, key, error, failed_at FROM dead_letters"


class Frames:
    """All frames of a report: those of the span from `start` to `last`, and from `first` on those to compare with."""

    def __init__(
        self, reader: ViewReader, first: dt.date, start: dt.date, last: dt.date, venue: Integers, source: Texts
    ) -> None:
        days: dict[str, Any] = {"from_day": first, "to_day": last, "venue": venue, "source": source}
        self.first, self.last = first, last
        self.events = reader.events(**days)
        self.as_of = pd.Timestamp(self.events.attrs["as_of"])
        self.sessions = reader.sessions(**days)
        self.children = {
            name: getattr(reader, name)(**days)
            for name in ("entries", "observations", "outcomes", "transactions", "corrections", "regressions")
        }
        self.parked = reader.parked(**days)
        self.dead_letters = reader.sql(_DEAD_LETTERS)
        self.first_known = reader.sql(_FIRST_KNOWN.format(first=start, last=last))
        self.stored_observations = reader.sql(_OBSERVATIONS.format(first=start, last=last))
        self.is_narrow = venue is not None

    def sources(self) -> list[str]:
        return sorted(set(self.sessions["source"].astype("str")) | set(keys_of(self.parked["event_key"])["source"]))


def earlier_codes(reader: ViewReader, day: dt.date) -> pd.DataFrame:
    """The codes in rows before a day: columns `source` and `code` (such as `entries.class=3`)."""
    rows = reader.sql(_EARLIER_CODES.format(day=day))
    table = rows["name_of_table"].astype("str")
    return pd.DataFrame({"source": rows["source"], "code": table + "." + rows["name"] + "=" + rows["value"]})


def datasets_of(frames: Frames) -> Iterator[Dataset]:
    """One dataset per source, in the order of their names."""
    sessions = frames.sessions.astype({"source": "str"})
    events = frames.events.merge(sessions[["session_key", "source", "date", "venue"]], on="session_key")
    place = events[["event_key", "session_key", "number", "source", "date", "venue"]]
    children = {name: frame.merge(place, on="event_key") for name, frame in frames.children.items()}
    parked = pd.concat([frames.parked, keys_of(frames.parked["event_key"])], axis=1)
    letters = _dead_letters(frames)
    first_known = _first_known(pd.concat([frames.first_known, _first_measured(frames.stored_observations)]))
    for source in frames.sources():
        own = {name: frame[frame["source"] == source] for name, frame in children.items()}
        yield Dataset(
            source,
            frames.first,
            frames.last,
            frames.as_of,
            _sessions(sessions[sessions["source"] == source]),
            _events(events[events["source"] == source]),
            _entries(own["entries"]),
            _observations(own["observations"]),
            _outcomes(own["outcomes"]),
            own["transactions"].astype({"market": "str"}),
            own["corrections"].astype({"field": "str", "kind": "str"}),
            own["regressions"].astype({"field": "str", "kind": "str"}),
            parked[parked["source"] == source],
            letters[letters["source"] == source],
            first_known,
        )


def keys_of(keys: pd.Series[Any]) -> pd.DataFrame:
    """Source, date and venue in event keys; NaT and NA in keys that are of no event."""
    parts = keys.astype("object").map(lambda key: [*str(key).split(":"), "", ""][:3]).tolist()
    frame = pd.DataFrame(parts, columns=["source", "date", "venue"], index=keys.index, dtype="object")
    dates = pd.to_datetime(frame["date"], format="%Y-%m-%d", errors="coerce").astype("datetime64[s]")
    venues = pd.to_numeric(frame["venue"], errors="coerce").astype("float64").astype("Int32")
    return pd.DataFrame({"source": frame["source"].astype("str"), "date": dates, "venue": venues})


def _dead_letters(frames: Frames) -> pd.DataFrame:
    """Of a record that is of no event, the day on which it failed counts; reports about venues leave it out."""
    letters = frames.dead_letters
    letters = pd.concat([letters, keys_of(letters["key"])], axis=1)
    failed = letters["failed_at"].dt.tz_convert("UTC").dt.tz_localize(None).dt.normalize().astype("datetime64[s]")
    letters["date"] = letters["date"].fillna(failed)
    if frames.is_narrow:
        letters = letters[letters["venue"].isin(frames.sessions["venue"].unique())]
    return letters


def _first_measured(rows: pd.DataFrame) -> pd.DataFrame:
    """When each event was known first with a lane of an entry: weather and weights are known hours before.

    `body` is that of facts.versions; a withdrawal has no entries.
    """
    decompress = zstandard.ZstdDecompressor().decompress
    entries = (orjson.loads(decompress(body)).get("entries", ()) for body in rows["body"])
    is_measured = [any(each.get("course") for each in listed) for listed in entries]
    known = rows[pd.Series(is_measured, index=rows.index, dtype="bool")].groupby("event_key")["known_at"].min()
    return known.reset_index().assign(kind="measured")


def _first_known(rows: pd.DataFrame) -> pd.DataFrame:
    wide = rows.pivot(index="event_key", columns="kind", values="known_at")
    return wide.reindex(columns=pd.Index(FACT_KINDS)).astype("datetime64[us, UTC]")


def _sessions(frame: pd.DataFrame) -> FieldTable:
    frame = frame.assign(grade=codes_of(frame["grade"]))
    return FieldTable("sessions", frame, {"title": Kind.VALUE, "venue_name": Kind.VALUE, "grade": Kind.CODE})


def _events(frame: pd.DataFrame) -> FieldTable:
    status = frame["status"].astype("str")
    frame = frame.assign(
        status=status,
        technique=codes_of(frame["technique"]),
        distance_m=frame["distance_m"].astype("float64"),
        is_settled=status == "settled",
        is_observed=frame["observed_at"].notna(),
    )
    frame, observed = expand(frame, "observed_conditions", Kind.NUMBER, "observed_conditions.")
    frame, settled = expand(frame, "conditions", Kind.NUMBER, "conditions.")
    applies = dict.fromkeys(observed, "is_observed") | dict.fromkeys(("technique", *settled), "is_settled")
    kinds = {
        "scheduled_at": Kind.VALUE, "title": Kind.VALUE, "distance_m": Kind.NUMBER, "technique": Kind.CODE,
    }  # fmt: skip
    return FieldTable("events", frame, {**kinds, **observed, **settled}, applies)


def _entries(frame: pd.DataFrame) -> FieldTable:
    frame, measures = expand(frame, "measures", Kind.NUMBER)
    frame, codes = expand(frame, "categories", Kind.CODE)
    return FieldTable("entries", frame, {"entity_key": Kind.VALUE, **measures, **codes})


def _observations(frame: pd.DataFrame) -> FieldTable:
    frame, measures = expand(frame.assign(course=codes_of(frame["course"])), "measures", Kind.NUMBER)
    return FieldTable("observations", frame, {"course": Kind.CODE, **measures})


def _outcomes(frame: pd.DataFrame) -> FieldTable:
    has_result = frame["place"].notna() | frame["code"].notna()
    frame = frame.assign(
        place=frame["place"].astype("float64"),
        code=codes_of(frame["code"]),
        course=codes_of(frame["course"]),
        result=has_result.astype("object").where(has_result),
    )
    kinds = {"result": Kind.VALUE, "course": Kind.CODE, "start_timing_s": Kind.NUMBER, "code": Kind.SPARSE}
    return FieldTable("outcomes", frame, kinds)
