"""Computes what charts show of the predictions that were published before settled events started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation.bootstrap import Interval, mean_difference
from services.predictor.evaluation.measures import log_loss

# With fewer sessions, a bootstrap over whole sessions has too few different draws for an interval.
MIN_SESSIONS = 5


class PublishedPrediction(NamedTuple):
    """The last prediction before the start of a settled event: P(win) by slot, and the slot that won."""

    session_key: str
    model_version: str
    p_win: Mapping[int, float]
    winner: int


@dataclass(frozen=True)
class LiveFigures:
    """Figures of n events, in the order of their starts. Losses are in nats.

    win, occupied (n, S): P(win) by slot, and whether the slot took part. winner (n,): index of the winner's slot.
    loss, base_loss (n,): log-loss of the model and of the base rate. session (n,): number of the event's session.
    """

    models: tuple[str, ...]
    win: Floats
    occupied: Bools
    winner: Ints
    loss: Floats
    base_loss: Floats
    session: Ints

    def __len__(self) -> int:
        return len(self.winner)

    def cumulated_gain(self) -> Floats:
        """(n,): nats by which the model was better than the base rate, summed over the events so far."""
        return np.asarray((self.base_loss - self.loss).cumsum(), dtype=np.float64)

    def gain(self) -> Interval | None:
        """Mean gain of an event over the base rate with its 95 % interval; None with fewer than MIN_SESSIONS
        sessions."""
        if len(np.unique(self.session)) < MIN_SESSIONS:
            return None
        return mean_difference(self.base_loss - self.loss, self.session)


def live_figures(predictions: Sequence[PublishedPrediction], wins: Mapping[int, int]) -> LiveFigures:
    """`wins`: earlier wins by slot. The base rate is each slot's share of wins, with one win added to each slot.

    Leaves out events whose winner was not predicted, for example an entry that replaced another one.
    """
    scored = [each for each in predictions if each.winner in each.p_win]
    slots = sorted({slot for each in scored for slot in each.p_win})
    win = np.array([[each.p_win.get(slot, np.nan) for slot in slots] for each in scored]).reshape(
        len(scored), len(slots)
    )
    occupied = ~np.isnan(win)
    win = np.where(occupied, win, 0.0)
    winner = np.array([slots.index(each.winner) for each in scored], dtype=np.int64)
    base = np.where(occupied, [wins.get(slot, 0) + 1.0 for slot in slots], 0.0)
    return LiveFigures(
        models=tuple(sorted({each.model_version for each in scored})),
        win=win,
        occupied=occupied,
        winner=winner,
        loss=log_loss(win, winner),
        base_loss=log_loss(base / base.sum(axis=1, keepdims=True), winner),
        session=np.unique([each.session_key for each in scored], return_inverse=True)[1].reshape(-1).astype(np.int64),
    )
