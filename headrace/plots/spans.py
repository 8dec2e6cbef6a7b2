"""The days of a frame, for titles."""

from __future__ import annotations

import pandas as pd


def days_text(dates: pd.Series[pd.Timestamp]) -> str:
    """`2026-01-31`, or the first and the last day."""
    first, last = dates.min().date(), dates.max().date()
    return str(first) if first == last else f"{first} to {last}"
