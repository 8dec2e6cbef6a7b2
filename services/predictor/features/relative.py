"""Relative features: each value compared with those of the other entries of its event.

Sums run slot by slot, so that an event's numbers do not depend on the other events of the batch.
"""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Floats, Ints

RELATIVES = ("in_event", "rank", "inner", "outer")
"""Difference from the event's mean; rank; differences from the entries one lane further in and one further out."""


def relatives(entry: Floats, lane: Ints) -> Floats:
    """(n, S, K), (n, S) lanes 1..S -> (n, S, 4 K) in the order of RELATIVES, NaN where either side is unknown."""
    return np.concatenate([_in_event(entry), _rank(entry), *_neighbours(entry, lane)], axis=2)


def _in_event(entry: Floats) -> Floats:
    return np.asarray(entry - event_mean(entry)[:, None])


def event_mean(values: Floats) -> Floats:
    """(n, S) or (n, S, K) -> (n,) or (n, K): mean of the known values."""
    total, count = np.zeros_like(values[:, 0]), np.zeros_like(values[:, 0])
    for slot in range(values.shape[1]):
        known = np.isfinite(values[:, slot])
        total += np.where(known, values[:, slot], 0.0)
        count += known
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def _rank(entry: Floats) -> Floats:
    """Centred rank: -0.5 for the lowest, 0 in the middle, 0.5 for the highest; ties share a rank."""
    below, others = np.zeros_like(entry), np.zeros_like(entry)
    for slot in range(entry.shape[1]):
        rival = entry[:, slot : slot + 1]
        known = np.isfinite(rival)
        with np.errstate(invalid="ignore"):
            below += (rival < entry) + 0.5 * (rival == entry)
        others += known
    rank = np.divide(below - 0.5, others - 1, out=np.full_like(entry, 0.5), where=others > 1) - 0.5
    return np.where(np.isfinite(entry), rank, np.nan)


def _neighbours(entry: Floats, lane: Ints) -> list[Floats]:
    """Differences from the entries one lane further in and one further out; of two in a lane, either is used."""
    n, slots, _ = entry.shape
    by_lane = np.full((n, slots + 2, entry.shape[2]), np.nan)
    rows = np.arange(n)[:, None]
    by_lane[rows, lane] = entry
    return [entry - by_lane[rows, lane - 1], entry - by_lane[rows, lane + 1]]
