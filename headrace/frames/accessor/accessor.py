"""The accessor `frame.headrace`: further methods of frames, without a connection."""

from __future__ import annotations

import pandas as pd

from headrace.frames.accessor.widening import wide


@pd.api.extensions.register_dataframe_accessor("headrace")
class HeadraceAccessor:
    """Methods of a frame of Headrace. Each returns a new frame."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def wide(self) -> pd.DataFrame:
        """JSON columns as one column per name. Raises InvalidFrame without such columns."""
        return wide(self._frame)
