"""Tokens of past starts, the input of the history attention."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.predictor.data.events import Floats, Floats32
from services.predictor.features.starts import Starts

TOKEN = (
    "won", "beaten", "top3", "unplaced", "false_start", "lane", "inner", "timing", "timing_lead", "pace_lead",
    "expected", "beaten_residual", "win_residual", "technique_1", "technique_2", "technique_3", "technique_4",
    "rivals", "grade",
)  # fmt: skip
"""Values of a token, scaled to about unit size; unknown is 0."""


def tokens_of(starts: Starts, said: Mapping[str, Floats], rivals: Floats) -> Floats32:
    """(n, S, TOKEN_NAMES). `rivals`: (n,) mean strength of the starters."""
    n, slots = starts.lane.shape
    table = np.stack(
        [
            said["won"], said["beaten"] - 0.5, said["top3"] - 0.5, said["unplaced"], said["false_start"],
            starts.lane / slots, starts.lane == 1, (said["timing_s"] - 0.15) * 8, said["timing_lead_s"] * 10,
            said["pace_lead"] * 8, said["expected_win"], said["beaten_residual"], said["win_residual"],
            said["technique_1"], said["technique_2"], said["technique_3"], said["technique_4"],
            np.broadcast_to(rivals[:, None], (n, slots)),
            np.broadcast_to((starts.grade[:, None] - 3) / 2, (n, slots)),
        ],
        axis=2,
    )  # fmt: skip
    return np.asarray(np.nan_to_num(table), dtype=np.float32)
