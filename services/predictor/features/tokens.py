"""Tokens of past starts, the input of the history attention."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.predictor.data.events import Floats, Floats32
from services.predictor.features.starts import Starts

TOKEN_NAMES = (
    "won", "beaten", "top3", "unplaced", "false_start", "lane", "inner", "timing", "timing_lead", "pace_lead",
    "expected", "beaten_residual", "win_residual", "technique_1", "technique_2", "technique_3", "technique_4",
    "rivals", "grade",
)  # fmt: skip
"""Values of a token, scaled to about unit size; unknown is 0."""


def tokens_of(starts: Starts, values: Mapping[str, Floats], rivals: Floats) -> Floats32:
    """(n, S, TOKEN_NAMES). `rivals`: (n,) mean strength of the starters."""
    n, slots = starts.lane.shape
    table = np.stack(
        [
            values["won"], values["beaten"] - 0.5, values["top3"] - 0.5, values["unplaced"], values["false_start"],
            starts.lane / slots, starts.lane == 1, (values["timing_s"] - 0.15) * 8, values["timing_lead_s"] * 10,
            values["pace_lead"] * 8, values["expected_win"], values["beaten_residual"], values["win_residual"],
            values["technique_1"], values["technique_2"], values["technique_3"], values["technique_4"],
            np.broadcast_to(rivals[:, None], (n, slots)),
            np.broadcast_to((starts.grade[:, None] - 3) / 2, (n, slots)),
        ],
        axis=2,
    )  # fmt: skip
    return np.asarray(np.nan_to_num(table), dtype=np.float32)
