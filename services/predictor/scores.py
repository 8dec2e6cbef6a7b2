"""How the live predictions did on the events that settled lately. Pure; one thread adds, others may read."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from services.predictor.facts import STATES, State

# A busy source settles some 150 events a day: the last two weeks or so.
KEPT = 2048


class Score(NamedTuple):
    """Nats; lower is better."""

    log_loss: float
    base_log_loss: float


class Scores:
    """The last KEPT scores per state. Scoring the same event again replaces its score, so a repeated batch is safe."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._scores: dict[State, OrderedDict[str, Score]] = {state: OrderedDict() for state in STATES}

    def add(self, event_key: str, state: State, score: Score) -> None:
        scores = self._scores[state]
        scores[event_key] = score
        scores.move_to_end(event_key)
        while len(scores) > self._kept:
            scores.popitem(last=False)

    def summary(self) -> dict[str, dict[str, float]]:
        """Per state that has scores: events, log_loss and base_log_loss (means, nats)."""
        found = {state: list(scores.copy().values()) for state, scores in self._scores.items()}
        return {
            state: {
                "events": len(scores),
                "log_loss": sum(score.log_loss for score in scores) / len(scores),
                "base_log_loss": sum(score.base_log_loss for score in scores) / len(scores),
            }
            for state, scores in found.items()
            if scores
        }
