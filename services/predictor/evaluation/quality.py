"""The figures of a model by name, over events whose result is known. Losses are in nats."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation.measures import (
    FIRST_PLACES,
    auc,
    brier,
    calibration_error,
    log_loss,
    most_probable,
    pooled,
    top1,
    two_way_loss,
)


def result_quality(win: Floats, taken: Bools, winner: Ints) -> dict[str, float]:
    """win (n, S), winner (n,) slot index. `ece_all` is over all taken slots, `ece_top` over the most probable ones."""
    return {
        "events": float(len(winner)),
        "log_loss": float(log_loss(win, winner).mean()),
        "top1": float(top1(win, winner).mean()),
        "brier": float(brier(win, winner).mean()),
        "ece_all": calibration_error(*pooled(win, taken, winner)),
        "ece_top": calibration_error(*most_probable(win, winner)),
    }


def top3_quality(top3: Floats, taken: Bools, places: Floats) -> dict[str, float]:
    """top3, places (n, S). A taken slot without a place did not come in the first three. Mean over taken slots."""
    told, came = top3[taken], in_first_places(places)[taken]
    return {"top3_log_loss": float(two_way_loss(told, came).mean()), "top3_auc": auc(told, came)}


def class_quality(name: str, told: Floats, found: Ints) -> dict[str, float]:
    """told (..., K), found (...) class index, -1 unknown: the log-loss over the known; empty where there are none."""
    known = found >= 0
    return {f"{name}_log_loss": float(log_loss(told[known], found[known]).mean())} if known.any() else {}


def in_first_places(places: Floats | Ints) -> Bools:
    """NaN and 0 are in none."""
    return np.asarray((places >= 1) & (places <= FIRST_PLACES), dtype=np.bool_)
