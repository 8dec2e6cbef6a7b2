"""One measured value, and the table of all of them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

MAX_EXAMPLES = 5
COLUMNS = ("source", "measure", "field", "venue", "date", "value", "unit", "count", "total", "examples")


@dataclass(frozen=True)
class Measure:
    """`value` in `unit`: `share` (0 to 1), `count`, `s`, `index`, or the field's own unit (`field`).

    `count` of `total`: what a share was computed from; None if it has none. `venue`: None is all venues together.
    `date`: of a measure per day, or the first day of a month. `examples`: a few keys of events, days or values.
    """

    measure: str
    field: str
    value: float
    unit: str
    count: int | None = None
    total: int | None = None
    venue: int | None = None
    date: dt.date | None = None
    examples: tuple[str, ...] = ()
    source: str = ""


def share(
    measure: str, field: str, count: int, total: int, venue: int | None = None, examples: Iterable[object] = ()
) -> Measure:
    """A share of rows. `total` is above 0."""
    place = None if venue is None else int(venue)
    return Measure(
        measure, field, float(count / total), "share", int(count), int(total), place, None, first_of(examples)
    )


def counted(measure: str, field: str, examples: Sequence[object], total: int | None = None) -> Measure:
    """A number of cases, with some of them as examples."""
    return Measure(measure, field, len(examples), "count", len(examples), total, examples=first_of(examples))


def first_of(examples: Iterable[object]) -> tuple[str, ...]:
    """The first examples, in the order of their texts: the order of rows must not matter."""
    return tuple(sorted(map(str, examples))[:MAX_EXAMPLES])


def frame_of(measures: Iterable[Measure]) -> pd.DataFrame:
    """The measures with a finite value as a DataFrame with the columns of COLUMNS, also without any."""
    return pd.DataFrame(series_of([each for each in measures if math.isfinite(each.value)]))[list(COLUMNS)]


def series_of(measures: Sequence[Measure]) -> dict[str, pd.Series]:
    """Each column of COLUMNS, one value per measure."""
    return {
        "source": pd.Series([each.source for each in measures], dtype="str"),
        "measure": pd.Series([each.measure for each in measures], dtype="str"),
        "field": pd.Series([each.field for each in measures], dtype="str"),
        "venue": pd.Series([each.venue for each in measures], dtype="Int32"),
        "date": pd.Series([each.date for each in measures], dtype="datetime64[s]"),
        "value": pd.Series([each.value for each in measures], dtype="float64"),
        "unit": pd.Series([each.unit for each in measures], dtype="str"),
        "count": pd.Series([each.count for each in measures], dtype="Int64"),
        "total": pd.Series([each.total for each in measures], dtype="Int64"),
        "examples": pd.Series([list(each.examples) for each in measures], dtype="object"),
    }
