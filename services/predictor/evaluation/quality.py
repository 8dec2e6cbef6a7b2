"""Quality figures of a model by name, over events whose result is known. Losses are in nats."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation import measures


def result_quality(win: Floats, occupied: Bools, winner: Ints) -> dict[str, float]:
    """win (n, S), winner (n,) slot index. `ece_all`: over all occupied slots, `ece_top`: over the most probable."""
    return {
        "events": float(len(winner)),
        "log_loss": float(measures.log_loss(win, winner).mean()),
        "top1": float(measures.top1(win, winner).mean()),
        "brier": float(measures.brier(win, winner).mean()),
        "ece_all": measures.calibration_error(*measures.every_slot(win, occupied, winner)),
        "ece_top": measures.calibration_error(*measures.most_probable(win, winner)),
    }


def top3_quality(top3: Floats, occupied: Bools, places: Floats) -> dict[str, float]:
    """top3, places (n, S). Means over occupied slots; one without a place is not in the first three."""
    probabilities, outcomes = top3[occupied], in_first_places(places)[occupied]
    return {
        "top3_log_loss": float(measures.binary_log_loss(probabilities, outcomes).mean()),
        "top3_auc": measures.auc(probabilities, outcomes),
    }


def class_quality(name: str, probabilities: Floats, labels: Ints) -> dict[str, float]:
    """probabilities (..., K), labels (...) class index, -1 for unknown: log-loss over the known; empty if none is."""
    is_known = labels >= 0
    return (
        {f"{name}_log_loss": float(measures.log_loss(probabilities[is_known], labels[is_known]).mean())}
        if is_known.any()
        else {}
    )


def in_first_places(places: Floats | Ints) -> Bools:
    """Whether each place is among the first three; NaN and 0 are not."""
    return np.asarray((places >= 1) & (places <= measures.FIRST_PLACES), dtype=np.bool_)
