"""One pandera schema per view, from the catalogue: columns in their order, data types, missing values, keys.

`MODELS["events"].validate(frame)` raises pandera's SchemaError; `frame.headrace.validate()` finds the view by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from headrace.frames.catalogue import VIEWS, Column, View

# Where more is known than the data type. The second limit is included.
RANGES: dict[str, tuple[float, float]] = {
    "slot": (1, np.inf),
    "number": (1, np.inf),
    "place": (1, np.inf),
    "ordinal": (1, np.inf),
    "amount": (0, np.inf),
    "win_amount": (0, np.inf),
    "place_amount": (0, np.inf),
    "bets": (1, np.inf),
    "attempts": (0, np.inf),
    "probability": (0, 1),
    "log_loss": (0, np.inf),
}


def model_of(view: View) -> pa.DataFrameSchema:
    """The schema of the complete frame of a view."""
    columns = {column.name: _column(column) for column in view.columns}
    return pa.DataFrameSchema(
        columns,
        strict=True,
        ordered=True,
        unique=list(view.key) if view.key else None,
        name=view.name,
        description=view.meaning,
    )


def _column(column: Column) -> pa.Column:
    checks = [pa.Check(_has_type(column), element_wise=False, error=f"expected the data type {column.dtype}")]
    if column.values:
        checks.append(pa.Check.isin(column.values))
    if column.name in RANGES:
        low, high = RANGES[column.name]
        checks.append(pa.Check.in_range(low, high))
    if column.is_json and not column.one_value:
        checks.append(pa.Check(lambda values: values.map(type).eq(dict), error="expected dicts"))
    return pa.Column(_dtype(column), checks, nullable=column.nullable, description=column.meaning)


def _dtype(column: Column) -> Any:
    """None where several types are allowed: times in any zone, categories of any vocabulary."""
    if column.is_category or column.sql_type == "timestamp with time zone":
        return None
    return pd.StringDtype(na_value=np.nan) if column.dtype == "str" else column.dtype


def _has_type(column: Column) -> Any:
    def check(values: pd.Series[Any]) -> bool:
        if column.is_category:
            return isinstance(values.dtype, pd.CategoricalDtype)
        if column.sql_type == "timestamp with time zone":
            return isinstance(values.dtype, pd.DatetimeTZDtype) and values.dtype.unit == "us"
        return True

    return check


MODELS: Mapping[str, pa.DataFrameSchema] = {name: model_of(view) for name, view in VIEWS.items()}
"""The schema of each view, by its name."""
