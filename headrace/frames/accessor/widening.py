"""Turns JSON columns into one column per name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headrace.frames.errors import InvalidFrame

JSON_COLUMNS = ("measures", "categories", "conditions", "observed_conditions", "attributes")


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """Each JSON column is replaced by a column for each of its names, in alphabetical order.

    A name that occurs twice gets the column's name as prefix in both places, e.g. measures_class. Numbers are
    float64 with NaN for unknown; other values keep their type and are categories if they are text.
    """
    wanted = [name for name in JSON_COLUMNS if name in frame.columns]
    if not wanted:
        raise InvalidFrame(
            f"wide() needs a column of {', '.join(JSON_COLUMNS)}; the frame has {', '.join(map(str, frame.columns))}."
            " Entries, observations, events and entities have them"
        )
    names = {column: _names(frame[column]) for column in wanted}
    plain = [name for name in frame.columns if name not in wanted]
    all_names = [*plain, *(name for each in names.values() for name in each)]
    columns: dict[str, Any] = {}
    for column in frame.columns:
        if column not in wanted:
            columns[column] = frame[column]
            continue
        for name in names[column]:
            final = f"{column}_{name}" if all_names.count(name) > 1 else name
            columns[final] = _values(frame[column], name)
    result = pd.DataFrame(columns, index=frame.index)
    result.attrs = dict(frame.attrs)
    return result


def _names(column: pd.Series[Any]) -> list[str]:
    return sorted({name for value in column if isinstance(value, Mapping) for name in value})


def _values(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    values = [value.get(name) if isinstance(value, Mapping) else None for value in column]
    present = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return pd.Series(values, index=column.index, dtype="float64")
    if all(isinstance(value, str) for value in present):
        return pd.Series(values, index=column.index, dtype="str").astype("category")
    if all(isinstance(value, bool) for value in present):
        return pd.Series(values, index=column.index, dtype="boolean")
    return pd.Series(values, index=column.index, dtype="object")
