"""Keeps the scores of predictions of recently settled events, by model and state. One thread adds, others read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import State
from services.predictor.evaluation.bootstrap import Interval, mean_difference
from services.predictor.evaluation.measures import calibration_error

# A busy source settles some 150 events a day: about two weeks.
WINDOW_EVENTS = 2048
# The live model, its shadows, and some of their predecessors.
MAX_MODELS = 8
# With fewer events the figures are mostly chance: no alarm, and no calibration error.
MIN_EVENTS = 100


class Score(NamedTuple):
    """One prediction of one settled event: P(win) of its occupied slots, index of the winner among them, and the base
    rate's P(win) of the winner. `cluster`: its session, because events of a session are not independent."""

    p_win: tuple[float, ...]
    winner: int
    base: float
    cluster: str

    @property
    def log_loss(self) -> float:
        return _nats(self.p_win[self.winner])

    @property
    def base_log_loss(self) -> float:
        return _nats(self.base)


class ScoreSummary(NamedTuple):
    """Mean log-losses in nats; calibration errors if there are enough events. `behind`: log-loss minus the base rate's,
    with its 95 % interval."""

    model: str
    state: State
    events: int
    log_loss: float
    base_log_loss: float
    ece_all: float | None
    ece_top: float | None
    behind: Interval | None

    @property
    def is_behind(self) -> bool:
        """Whether the model is worse than the base rate, with confidence."""
        return self.behind is not None and self.behind.low > 0


class RollingScores:
    """The last WINDOW_EVENTS scores per model and state. Scoring an event again replaces its score, so that a repeated
    batch or a corrected result does no harm."""

    def __init__(self, window: int = WINDOW_EVENTS) -> None:
        self._window = window
        self._scores: OrderedDict[tuple[str, State], OrderedDict[str, Score]] = OrderedDict()

    def add(self, model: str, state: State, event_key: str, score: Score) -> None:
        scores = self._scores.setdefault((model, state), OrderedDict())
        scores[event_key] = score
        scores.move_to_end(event_key)
        while len(scores) > self._window:
            scores.popitem(last=False)
        self._scores.move_to_end((model, state))
        while len({each for each, _ in self._scores}) > MAX_MODELS:
            self._scores.popitem(last=False)

    def summaries(self) -> list[ScoreSummary]:
        """One per model and state with scores; each takes some milliseconds."""
        return [
            _summary(model, state, list(scores.copy().values()))
            for (model, state), scores in sorted(self._scores.copy().items())
            if scores
        ]


def _summary(model: str, state: State, scores: Sequence[Score]) -> ScoreSummary:
    losses = np.array([score.log_loss for score in scores])
    bases = np.array([score.base_log_loss for score in scores])
    enough = len(scores) >= MIN_EVENTS
    return ScoreSummary(
        model=model,
        state=state,
        events=len(scores),
        log_loss=float(losses.mean()),
        base_log_loss=float(bases.mean()),
        ece_all=_ece_all(scores) if enough else None,
        ece_top=_ece_top(scores) if enough else None,
        behind=mean_difference(losses - bases, _clusters(scores)) if enough else None,
    )


def _ece_all(scores: Sequence[Score]) -> float:
    probabilities = np.array([p for score in scores for p in score.p_win])
    outcomes = np.array([slot == score.winner for score in scores for slot in range(len(score.p_win))])
    return calibration_error(probabilities, outcomes)


def _ece_top(scores: Sequence[Score]) -> float:
    probabilities = np.array([max(score.p_win) for score in scores])
    outcomes = np.array([score.p_win[score.winner] == max(score.p_win) for score in scores])
    return calibration_error(probabilities, outcomes)


def _clusters(scores: Sequence[Score]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.unique([score.cluster for score in scores], return_inverse=True)[1].reshape(-1).astype(np.int64)


def _nats(probability: float) -> float:
    return float(-np.log(max(probability, 1e-15)))
