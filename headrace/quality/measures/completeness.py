"""How much is known: values of fields, facts of events, days, results."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pandas as pd

from headrace.quality.dataset import Dataset, FieldTable, Kind
from headrace.quality.measure import Measure, counted, share

# An event without a result for this long after its start counts as unfinished.
RESULT_PATIENCE = pd.Timedelta(hours=6)
_NOT_RUN = ("cancelled", "postponed")
_WITHOUT_PAYOUTS = (*_NOT_RUN, "void")


def measure_completeness(data: Dataset) -> Iterator[Measure]:
    """`completeness`: the share of known values of each field, over all rows that can have one, and by venue."""
    for table in data.tables:
        for column in table.columns(Kind.NUMBER, Kind.CODE, Kind.VALUE):
            yield from _known_shares(table, column)


def _known_shares(table: FieldTable, column: str) -> Iterator[Measure]:
    rows = table.rows_of(column)
    known = rows[column].notna()
    if not len(rows):
        return
    field = table.field(column)
    examples = rows.loc[~known, "event_key"].drop_duplicates() if "event_key" in rows else ()
    yield share("completeness", field, int(known.sum()), len(rows), examples=examples)
    grouped = known.groupby(rows["venue"]).agg(["sum", "size"])
    for venue, count, total in grouped.itertuples():
        yield share("completeness", field, count, total, venue)


def measure_coverage(data: Dataset) -> Iterator[Measure]:
    """`coverage`: the share of events that have entries, observations, outcomes and transactions, also by venue.

    Outcomes and transactions are expected of events whose result is due: not called off, and started six hours ago.
    """
    events = data.events.frame
    is_due = events["scheduled_at"] < data.as_of - RESULT_PATIENCE
    expected = {
        "entries": events,
        "observations": events[~events["status"].isin(_NOT_RUN)],
        "outcomes": events[is_due & ~events["status"].isin(_NOT_RUN)],
        "transactions": events[is_due & ~events["status"].isin(_WITHOUT_PAYOUTS)],
    }
    children = {table.name: table.frame for table in data.tables} | {"transactions": data.transactions}
    for name, due in expected.items():
        has = due["event_key"].isin(children[name]["event_key"].unique())
        if not len(due):
            continue
        yield share("coverage", name, int(has.sum()), len(due), examples=due.loc[~has, "event_key"])
        for venue, count, total in has.groupby(due["venue"]).agg(["sum", "size"]).itertuples():
            yield share("coverage", name, count, total, venue)


def measure_days(data: Dataset) -> Iterator[Measure]:
    """`events_per_day`, for each day of the span, and `days_without_events`. Days that have not begun do not count."""
    counts = data.events.frame["date"].dt.date.value_counts()
    days = days_of(data)
    for day in days:
        count = int(counts.get(day, 0))
        yield Measure("events_per_day", "events", count, "count", count, date=day)
    if days:
        yield counted("days_without_events", "events", [day for day in days if day not in counts.index], len(days))


def days_of(data: Dataset) -> list[dt.date]:
    """The days of the span until the day on which it was read."""
    last = min(data.last, (data.as_of + pd.Timedelta(days=1)).date())
    return [data.first + dt.timedelta(days=n) for n in range((last - data.first).days + 1)]


def measure_statuses(data: Dataset) -> Iterator[Measure]:
    """`status`: the share of events in each state; `unfinished`: events whose result is overdue."""
    events = data.events.frame
    if not len(events):
        return
    for status, keys in events.groupby("status")["event_key"]:
        yield share("status", str(status), len(keys), len(events), examples=keys)
    is_overdue = events["scheduled_at"] < data.as_of - RESULT_PATIENCE
    is_open = events["status"].isin(["listed", "observed", "provisional"])
    overdue = events.loc[is_overdue & is_open, "event_key"]
    yield share("unfinished", "events", len(overdue), len(events), examples=overdue)


def measure_missing_markets(data: Dataset) -> Iterator[Measure]:
    """`missing_markets`: payout rows that the source lacks, by market, and the share of events that lack any."""
    events = data.events.frame
    settled = events[events["is_settled"]]
    if not len(settled):
        return
    is_listed = settled["missing_markets"].map(lambda value: isinstance(value, list) and bool(value)).astype("bool")
    lacking = settled[is_listed]
    yield share("missing_markets", "events", len(lacking), len(settled), examples=lacking["event_key"])
    rows = lacking[["event_key", "missing_markets"]].explode("missing_markets")
    for market, keys in rows.groupby("missing_markets")["event_key"]:
        yield counted("missing_market_rows", f"transactions.{market}", list(keys), len(settled))


def measure_leftovers(data: Dataset) -> Iterator[Measure]:
    """`dead_letters` by service and error, and `parked` by kind: records that are in no table of facts."""
    letters = data.dead_letters
    yield counted("dead_letters", "all", list(letters["key"]))
    for (service, error), keys in letters.groupby(["service", "error"], observed=True)["key"]:
        yield counted("dead_letters_by_error", f"{service}: {error}", list(keys))
    yield counted("parked", "all", list(data.parked["event_key"]))
    for kind, keys in data.parked.groupby("kind", observed=True)["event_key"]:
        yield counted("parked_by_kind", str(kind), list(keys))
