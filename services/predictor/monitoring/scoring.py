"""Scores predictions when their events settle, and logs an error when the live model falls behind the base rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from services.predictor.data.events import State
from services.predictor.model.active import ActiveModel
from services.predictor.monitoring.rolling_scores import RollingScores, Score, ScoreSummary

log = structlog.get_logger("predictor")


class SettledPrediction(NamedTuple):
    """The newest prediction of a settled event by one model in one state, made before the start."""

    event_key: str
    session_key: str
    state: State
    model_version: str
    p_win: Mapping[int, float]
    winner: int


class ScoredFacts(Protocol):
    """Raises TransientError if the database is unavailable (services/predictor/monitoring/postgres_scores.py)."""

    def settled_predictions(self, event_keys: Sequence[str]) -> list[SettledPrediction]:
        """Of those of these events that have exactly one winner."""
        ...

    def recent_settled_predictions(self, models: Sequence[str]) -> list[SettledPrediction]:
        """Of the most recently settled events by these models, the oldest first."""
        ...

    def wins(self, before: Sequence[str]) -> Mapping[int, int]:
        """Wins by slot in the events that had settled before the first of these events started."""
        ...


class Scoring:
    """Scores are computed from the tables, so they are read again after a restart and when a model becomes active.

    A model is scored only on days after its training data, because a replay may have let it predict its training days.
    """

    def __init__(self, facts: ScoredFacts | None) -> None:
        self.scores = RollingScores()
        self._facts = facts
        self._scored_models: frozenset[str] = frozenset()
        self._summaries: list[ScoreSummary] = []
        self._behind: frozenset[tuple[str, State]] = frozenset()

    def score(self, settled: Sequence[str], active: Sequence[ActiveModel]) -> None:
        """Scores the predictions of events that have just settled. Raises TransientError."""
        if self._facts is None:
            return
        last_days = {each.model.version: each.model.description.validation_last for each in active}
        new = last_days.keys() - self._scored_models
        if not new and not settled:
            return
        predictions = self._facts.recent_settled_predictions(sorted(new)) if new else []
        predictions += self._facts.settled_predictions(settled) if settled else []
        self._add([each for each in predictions if _day(each.event_key) > last_days.get(each.model_version, "9999")])
        self._scored_models = frozenset(last_days)
        self._summaries = self.scores.summaries()
        self._log_alarms(active)

    def summaries(self) -> list[ScoreSummary]:
        return self._summaries

    def problems(self, live: str | None) -> list[str]:
        """Problems of the live model, as text."""
        return [
            f"model {each.model} is behind the base rate from the {each.state}: log-loss {each.log_loss:.4f} against"
            f" {each.base_log_loss:.4f} over {each.events} events, difference {each.behind}"
            for each in self._summaries
            if each.model == live and each.is_behind
        ]

    def _add(self, predictions: Sequence[SettledPrediction]) -> None:
        if not predictions or self._facts is None:
            return
        wins = self._facts.wins([each.event_key for each in predictions])
        for each in predictions:
            if each.winner in each.p_win:
                self.scores.add(each.model_version, each.state, each.event_key, _score(each, wins))

    def _log_alarms(self, active: Iterable[ActiveModel]) -> None:
        live = {each.model.version for each in active if not each.shadow}
        behind = frozenset(
            (each.model, each.state) for each in self._summaries if each.is_behind and each.model in live
        )
        for each in self._summaries:
            if (each.model, each.state) in behind - self._behind:
                log.error(
                    "live_model_behind_base_rate",
                    model_version=each.model,
                    state=each.state,
                    log_loss=round(each.log_loss, 4),
                    base_log_loss=round(each.base_log_loss, 4),
                    difference=str(each.behind),
                )
        self._behind = behind


def _score(prediction: SettledPrediction, wins: Mapping[int, int]) -> Score:
    """The base rate is each slot's share of wins, with one win added to each, so that no slot is impossible."""
    slots = sorted(prediction.p_win)
    base = (wins.get(prediction.winner, 0) + 1) / sum(wins.get(slot, 0) + 1 for slot in slots)
    return Score(
        tuple(prediction.p_win[slot] for slot in slots), slots.index(prediction.winner), base, prediction.session_key
    )


def _day(event_key: str) -> str:
    """The date in a key like boatrace:2026-01-31:07:04, as a string that sorts by date."""
    return event_key.split(":")[1]
