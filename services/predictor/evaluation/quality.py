"""Quality figures of a model by name, over events whose result is known. Losses are in nats."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation import measures


def result_quality(win: Floats, taken: Bools, winner: Ints) -> dict[str, float]:
    """win (n, S), winner (n,) slot index. `ece_all`: over all occupied slots, `ece_top`: over the most probable."""
    return {
        "events": float(len(winner)),
        "log_loss": float(measures.log_loss(win, winner).mean()),
        "top1": float(measures.top1(win, winner).mean()),
        "brier": float(measures.brier(win, winner).mean()),
        "ece_all": measures.calibration_error(*measures.pooled(win, taken, winner)),
        "ece_top": measures.calibration_error(*measures.most_probable(win, winner)),
    }


def top3_quality(top3: Floats, taken: Bools, places: Floats) -> dict[str, float]:
    """top3, places (n, S). Means over occupied slots; one without a place is not in the first three."""
    told, came = top3[taken], in_first_places(places)[taken]
    return {"top3_log_loss": float(measures.two_way_loss(told, came).mean()), "top3_auc": measures.auc(told, came)}


def class_quality(name: str, told: Floats, found: Ints) -> dict[str, float]:
    """probabilities (..., K), labels (...) class index, -1 for unknown: log-loss over the known; empty if none is."""
    known = found >= 0
    return {f"{name}_log_loss": float(measures.log_loss(told[known], found[known]).mean())} if known.any() else {}


def in_first_places(places: Floats | Ints) -> Bools:
    """Whether each place is among the first three; NaN and 0 are not."""
    return np.asarray((places >= 1) & (places <= measures.FIRST_PLACES), dtype=np.bool_)
