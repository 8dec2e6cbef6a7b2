"""The rows that a report measures: one source, one span, with JSON columns expanded to one column per name."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pandas as pd


class Kind(StrEnum):
    """What a field holds, and with it which measures apply."""

    NUMBER = "number"
    CODE = "code"
    """A value of a small vocabulary."""
    SPARSE = "sparse"
    """A code that most rows lack, so its completeness says nothing."""
    VALUE = "value"
    """Anything else: only its completeness is measured."""


@dataclass(frozen=True)
class FieldTable:
    """Rows with the columns `event_key` (except sessions), `date` and `venue`. `kinds`: the measured columns.

    `applies`: of a field that only some rows can have, the column (bool) that says which.
    """

    name: str
    frame: pd.DataFrame
    kinds: Mapping[str, Kind]
    applies: Mapping[str, str] = field(default_factory=dict)

    def field(self, column: str) -> str:
        """The name of a column in the report, such as `entries.weight_kg`."""
        return f"{self.name}.{column}"

    def columns(self, *kinds: Kind) -> list[str]:
        return [column for column, kind in self.kinds.items() if kind in kinds]

    def rows_of(self, column: str) -> pd.DataFrame:
        """The rows that can have a value of the column."""
        condition = self.applies.get(column)
        return self.frame if condition is None else self.frame[self.frame[condition]]


@dataclass(frozen=True)
class Dataset:
    """Rows of one source from `first` to `last`, both included. `as_of`: the time at which they were read.

    `transactions`, `corrections`, `regressions`, `parked` and `dead_letters` have `date` and `venue` too.
    `first_known`: when the first fact of each kind (a column, of reading.FACT_KINDS) became known, by event key.
    """

    source: str
    first: dt.date
    last: dt.date
    as_of: pd.Timestamp
    sessions: FieldTable
    events: FieldTable
    entries: FieldTable
    observations: FieldTable
    outcomes: FieldTable
    transactions: pd.DataFrame
    corrections: pd.DataFrame
    regressions: pd.DataFrame
    parked: pd.DataFrame
    dead_letters: pd.DataFrame
    first_known: pd.DataFrame

    @property
    def tables(self) -> tuple[FieldTable, ...]:
        return self.sessions, self.events, self.entries, self.observations, self.outcomes

    def between(self, first: dt.date, last: dt.date) -> Dataset:
        """The rows of some of its days."""

        def cut(frame: pd.DataFrame) -> pd.DataFrame:
            dates = frame["date"]
            return frame[(dates >= pd.Timestamp(first)) & (dates <= pd.Timestamp(last))]

        return self._mapped(cut, first, last)

    def _mapped(self, cut: Callable[[pd.DataFrame], pd.DataFrame], first: dt.date, last: dt.date) -> Dataset:
        changes: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, FieldTable):
                changes[name] = replace(value, frame=cut(value.frame))
            elif isinstance(value, pd.DataFrame) and name != "first_known":
                changes[name] = cut(value)
        return replace(self, first=first, last=last, **changes)


def expand(frame: pd.DataFrame, column: str, kind: Kind, prefix: str = "") -> tuple[pd.DataFrame, dict[str, Kind]]:
    """The frame with a column for each name of a JSON column, and what each of them holds.

    A name that the frame already has gets the JSON column's name in front.
    """
    values = pd.DataFrame([each if isinstance(each, Mapping) else {} for each in frame[column]], index=frame.index)
    columns: dict[str, pd.Series[Any]] = {}
    kinds: dict[str, Kind] = {}
    for name in values.columns:
        final = f"{prefix}{name}" if f"{prefix}{name}" not in frame.columns else f"{column}.{name}"
        kinds[final] = Kind.CODE if name in CONDITION_CODES else kind
        columns[final] = codes_of(values[name]) if kinds[final] is Kind.CODE else numbers_of(values[name])
    rest = frame.drop(columns=column)
    return (pd.concat([rest, pd.DataFrame(columns, index=frame.index)], axis=1) if columns else rest), kinds


# The other conditions are numbers.
CONDITION_CODES = frozenset({"weather", "wind_direction"})


def numbers_of(values: pd.Series[Any]) -> pd.Series[Any]:
    """As float64; NaN is unknown, and so is what is no number."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.astype("float64")
    numbers = [float(each) if isinstance(each, int | float) else math.nan for each in values]
    return pd.Series(numbers, index=values.index, dtype="float64")


def codes_of(values: pd.Series[Any]) -> pd.Series[Any]:
    """As text; None is unknown. A whole number has no decimals, whatever its type."""
    known = values.notna()
    texts = [_code_text(each) if is_known else None for each, is_known in zip(values, known, strict=True)]
    return pd.Series(texts, index=values.index, dtype="object")


def _code_text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
