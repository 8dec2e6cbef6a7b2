"""Checks that a frame has the columns of a method."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from headrace.frames.errors import InvalidFrame, suggestion


def require(frame: pd.DataFrame, source: str, columns: Sequence[str]) -> None:
    """Raises InvalidFrame that names the missing columns and the method whose frame has them."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        names = [str(name) for name in frame.columns]
        raise InvalidFrame(
            f"expected a frame of hr.{source}(...): it lacks the column{'s' if len(missing) > 1 else ''}"
            f" {', '.join(missing)}{suggestion(missing[0], names)}"
        )
