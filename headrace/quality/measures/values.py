"""What values look like: ranges, new codes, decimals, and how far distributions have moved since the month before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pandas as pd

from headrace.quality.dataset import Dataset, FieldTable, Kind
from headrace.quality.measure import Measure, counted, first_of, share
from headrace.quality.thresholds import Range
from services.predictor.evaluation.stability_index import MIN_SHARE, fit_bins, psi

QUANTILES = {"quantile_01": 0.01, "quantile_25": 0.25, "median": 0.5, "quantile_75": 0.75, "quantile_99": 0.99}
# With fewer values, the index is mostly noise: each of ten bins must hold some.
MIN_SHIFT_VALUES = 200
# A code with more values, such as the number of an engine, is an identifier.
MAX_CODES = 50
# A venue that gives decimals has them in most values; one that gives whole numbers has them in none.
MIN_PRECISION_VALUES = 50
MANY_DECIMALS = 0.2


def measure_ranges(data: Dataset, range_of: Callable[[str], Range | None]) -> Iterator[Measure]:
    """`minimum`, `maximum`, quantiles of each number, and `out_of_range` for each field with a plausible range."""
    for table in data.tables:
        for column in table.columns(Kind.NUMBER):
            values = table.frame[column].dropna()
            values = values[np.isfinite(values)]
            if len(values):
                yield from _range(table, column, values, range_of(table.field(column)))
    amounts = data.transactions.assign(amount=data.transactions["amount"].astype("float64"))
    for market, rows in amounts.groupby("market"):
        part = FieldTable(f"transactions.{market}", rows, {})
        yield from _range(part, "amount", rows["amount"], range_of("transactions.amount"))


def _range(table: FieldTable, column: str, values: pd.Series[Any], limits: Range | None) -> Iterator[Measure]:
    field, total = table.field(column), len(values)
    keys = table.frame["event_key"] if "event_key" in table.frame else table.frame["session_key"]
    for name, extreme in (("minimum", values.min()), ("maximum", values.max())):
        places = first_of(keys[values.index[values == extreme]].drop_duplicates())
        yield Measure(name, field, float(extreme), "field", total=total, examples=places)
    for name, value in zip(QUANTILES, values.quantile(list(QUANTILES.values())), strict=True):
        yield Measure(name, field, float(value), "field", total=total)
    if limits is not None:
        outside = values.index[(values < limits.low) | (values > limits.high)]
        yield share("out_of_range", field, len(outside), total, examples=keys[outside].drop_duplicates())


def measure_novelty(data: Dataset, earlier: AbstractSet[str]) -> Iterator[Measure]:
    """`novel_values`: codes of each field that no row before the span has. Nothing if there are no rows before it.

    `earlier`: those codes, as `entries.class=3`.
    """
    if not earlier:
        return
    for table in data.tables:
        for column in table.columns(Kind.CODE, Kind.SPARSE):
            name = column.rpartition(".")[2]
            place = "conditions" if "conditions." in column else table.name
            if (table.name, column) == ("observations", "course") or (table.name, column) == ("outcomes", "course"):
                continue
            novel = [code for code in table.frame[column].dropna().unique() if f"{place}.{name}={code}" not in earlier]
            yield counted("novel_values", table.field(column), novel)


def measure_precision(data: Dataset) -> Iterator[Measure]:
    """`decimals`: the share of values that are not whole, by venue. `mixed_precision`: the venues that differ from most
    venues: a number that they give with decimals is rounded elsewhere, or the reverse."""
    for table in data.tables:
        for column in table.columns(Kind.NUMBER):
            rows = table.frame[["venue", column]].dropna()
            is_decimal = (rows[column] % 1 != 0).groupby(rows["venue"]).agg(["sum", "size"])
            is_decimal = is_decimal[is_decimal["size"] >= MIN_PRECISION_VALUES]
            shares = is_decimal["sum"] / is_decimal["size"]
            for venue, count, total in is_decimal.itertuples():
                yield share("decimals", table.field(column), count, total, venue)
            many, none = shares[shares >= MANY_DECIMALS], shares[shares == 0]
            if len(many) + len(none) >= 3:
                fewer = many if len(many) <= len(none) else none
                yield counted("mixed_precision", table.field(column), [f"venue {venue}" for venue in fewer.index])


def measure_shift(data: Dataset, span: Dataset) -> Iterator[Measure]:
    """`shift`: the population stability index of each field and month of the span against the month before.

    `data` also has the month before the span. Below 0.1 is no shift, above 0.25 another population.
    """
    for first in _months(span.first, span.last):
        before = data.between(_month_before(first), first - dt.timedelta(days=1))
        now = span.between(max(first, span.first), min(_month_end(first), span.last))
        for then_table, now_table in zip(before.tables, now.tables, strict=True):
            for column in then_table.columns(Kind.NUMBER, Kind.CODE, Kind.SPARSE):
                index = shift_of(then_table.rows_of(column)[column], now_table.rows_of(column)[column])
                if index is not None:
                    rows = len(now_table.rows_of(column))
                    yield Measure("shift", then_table.field(column), index, "index", total=rows, date=first)


def shift_of(then: pd.Series[Any], now: pd.Series[Any]) -> float | None:
    """The index of numbers or codes; None if there are too few values, or too many different codes."""
    if min(then.notna().sum(), now.notna().sum()) < MIN_SHIFT_VALUES:
        return None
    if then.dtype == "float64" and now.dtype == "float64":
        return psi(fit_bins(then.to_numpy()), now.to_numpy())
    if max(then.nunique(), now.nunique()) > MAX_CODES:
        return None
    shares = pd.concat([each.fillna("").value_counts(normalize=True) for each in (then, now)], axis=1).fillna(0.0)
    old, new = (np.maximum(shares.iloc[:, at].to_numpy(dtype="float64"), MIN_SHARE) for at in (0, 1))
    return float(((new - old) * np.log(new / old)).sum())


def _months(first: dt.date, last: dt.date) -> list[dt.date]:
    months = [first.replace(day=1)]
    while (following := _month_end(months[-1]) + dt.timedelta(days=1)) <= last:
        months.append(following)
    return months


def _month_end(first: dt.date) -> dt.date:
    return (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)


def _month_before(first: dt.date) -> dt.date:
    return (first - dt.timedelta(days=1)).replace(day=1)
