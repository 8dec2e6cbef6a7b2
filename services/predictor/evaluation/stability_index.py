"""Population stability index (PSI): how far a feature's distribution has moved from that of the training data.

PSI = sum over bins of (now - then) * ln(now / then), with `then` the training data. Usual interpretation: below 0.1 no
shift, above 0.25 a different population.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Floats, Floats32

BINS = 10
# Lower bound of the share of a bin: with an empty bin, one odd value would make the index infinite.
MIN_SHARE = 1e-4


class Bins(NamedTuple):
    """Bins of one feature, len(edges) + 2 in this order:

    * one per edge, ascending, for values up to and including the edge;
    * one for values above the last edge;
    * one for unknown values (NaN).

    `shares`: share of the training data in each bin.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]


def fit_bins(values: Floats | Floats32, count: int = BINS) -> Bins:
    """(m,) -> bins of about equal share; fewer where values repeat (a flag has two)."""
    finite = np.sort(values[~np.isnan(values)].astype(np.float64))
    lower = finite[finite < finite[-1:]]
    edges: tuple[float, ...] = ()
    if len(lower):
        # Edges are values of the feature, not midpoints. The highest value is never an edge, so that the bin above the
        # last edge is not empty. A flag (0 or 1) has the single edge 0.
        at = finite[[len(finite) * part // count for part in range(1, count)]]
        edges = tuple(np.unique(np.minimum(at, lower[-1])).tolist())
    return Bins(edges, tuple(shares_in(edges, values).tolist()))


def shares_in(edges: Sequence[float], values: Floats | Floats32) -> Floats:
    """(m,) -> (len(edges) + 2,): the share in each bin, the unknown last; sums to 1 unless there are no values."""
    bins = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="left")
    bins = np.where(np.isnan(values), len(edges) + 1, bins)
    return np.bincount(bins, minlength=len(edges) + 2) / max(len(values), 1)


def psi(bins: Bins, values: Floats | Floats32) -> float:
    """0 if the (m,) values are distributed as in training; NaN without values."""
    if not len(values):
        return float("nan")
    then = np.maximum(bins.shares, MIN_SHARE)
    now = np.maximum(shares_in(bins.edges, values), MIN_SHARE)
    return float(((now - then) * np.log(now / then)).sum())
