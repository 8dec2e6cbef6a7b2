"""Parses LightGBM's text format of a model into plain arrays."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Floats, Floats32
from services.predictor.learners.boosting.trees import ARRAYS, Trees, trees_of

# Bits of a node's `decision_type` in LightGBM's text.
CATEGORICAL, DEFAULT_LEFT = 1, 2
MISSING_SHIFT, MISSING_NONE, MISSING_NAN = 2, 0, 2


def parse_trees(text: str) -> Trees:
    """Parses `Booster.model_to_string()`, one score per row. Raises ValueError for splits that Trees cannot express."""
    blocks = [_fields(block) for block in text.partition("end of trees")[0].split("\nTree=")[1:]]
    nodes = max((int(block["num_leaves"]) - 1 for block in blocks), default=0)
    arrays = {name: np.zeros((len(blocks), nodes + (name == "value")), dtype=kind) for name, kind in ARRAYS.items()}
    arrays["feature"][:] = -1
    for tree, block in enumerate(blocks):
        used = int(block["num_leaves"]) - 1
        arrays["value"][tree, : used + 1] = _numbers(block["leaf_value"])
        if used:
            thresholds = _numbers(block["threshold"])
            arrays["feature"][tree, :used] = _numbers(block["split_feature"])
            arrays["threshold"][tree, :used] = _round_down(thresholds)
            arrays["unknown_left"][tree, :used] = _unknown_left(block, thresholds)
            arrays["left"][tree, :used] = _numbers(block["left_child"])
            arrays["right"][tree, :used] = _numbers(block["right_child"])
    return trees_of(arrays)


def _fields(block: str) -> dict[str, str]:
    return {name: value for name, sign, value in (line.partition("=") for line in block.splitlines()) if sign}


def _numbers(text: str) -> Floats:
    return np.array(text.split(), dtype=np.float64)


def _round_down(thresholds: Floats) -> Floats32:
    """The largest float32 not above each threshold: for a float32 feature, x <= threshold is the same for both."""
    with np.errstate(over="ignore"):  # LightGBM splits known from unknown values at 1e300
        near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)


def _unknown_left(block: dict[str, str], thresholds: Floats) -> Floats:
    """LightGBM treats NaN as 0 in a feature without NaN in training; otherwise the node has a default direction."""
    kinds = _numbers(block["decision_type"]).astype(np.int64)
    missing = (kinds >> MISSING_SHIFT) & 3
    if (kinds & CATEGORICAL).any() or not np.isin(missing, (MISSING_NONE, MISSING_NAN)).all():
        raise ValueError("the LightGBM model has categorical splits or treats zero as unknown: neither is supported")
    return np.where(missing == MISSING_NAN, (kinds & DEFAULT_LEFT) > 0, thresholds >= 0).astype(np.float64)
