"""Rows of frames as plain values, for comparisons with `headrace sql --json`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from headrace.frames import Headrace
from headrace.frames.catalogue import VIEWS, View

STORED = [name for name, view in VIEWS.items() if view.is_stored]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    days = {name for name in frame.columns if str(frame[name].dtype) == "datetime64[s]"}
    return [
        {name: _plain(value, name in days) for name, value in zip(frame.columns, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def statement_for(view: View) -> str:
    """All rows in the order of the view's key."""
    keys = ", ".join(f'"{name}"' + (' collate "C"' if view.column(name).is_text else "") for name in view.key)
    return f"select * from {view.name} order by {keys}"


def frame_of(hr: Headrace, name: str, **selection: Any) -> pd.DataFrame:
    frame: pd.DataFrame = getattr(hr, name)(**selection)
    return frame


def _plain(value: Any, is_day: bool) -> Any:
    if isinstance(value, dict | list):
        return value
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat() if is_day else value.to_pydatetime().isoformat()
    return value.item() if hasattr(value, "item") else value
