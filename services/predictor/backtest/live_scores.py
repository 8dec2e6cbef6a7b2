"""Scores the live predictions of settled events against the base rate and, if given, the true probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.predictor.data.events import STATES, Floats
from services.predictor.evaluation.measures import MIN_PROBABILITY, calibration_error
from services.predictor.storage import queries
from services.predictor.storage.interface import StoredPrediction
from services.predictor.storage.postgres_facts import Connection, read_predictions

# With fewer events the calibration error is mostly chance: 15 bins with a handful of events each.
MIN_CALIBRATION_EVENTS = 100


def evaluate(connection: Connection, truth: Mapping[str, Sequence[float]] | None = None) -> dict[str, Any]:
    """Per state: n, log_loss, base_log_loss and, where available, truth_log_loss and ece. Log-losses are in nats.

    `truth`: by event key, P(win) of the slots from slot 1 on; if given, only its events count. All figures of a state
    cover the same events. The base rate is each slot's share of wins in the events settled before the first prediction.
    """
    predictions = [item for item in read_predictions(connection) if truth is None or item.event_key in truth]
    rates = _base_rates(connection) if predictions else {}
    scores: dict[str, Any] = {}
    for state in STATES:
        of_state = [item for item in predictions if item.state == state]
        if of_state:
            scores[state] = _scores(of_state, rates, truth)
    return scores


def _scores(
    predictions: Sequence[StoredPrediction], rates: Mapping[int, float], truth: Mapping[str, Sequence[float]] | None
) -> dict[str, Any]:
    scores: dict[str, Any] = {
        "n": len(predictions),
        "log_loss": _mean_nats(np.array([item.p_win.get(item.winner, 0.0) for item in predictions])),
        "base_log_loss": _mean_nats(np.array([_base_probability(item, rates) for item in predictions])),
    }
    if truth is not None:
        scores["truth_log_loss"] = _mean_nats(
            np.array([truth[item.event_key][item.winner - 1] for item in predictions])
        )
    if len(predictions) >= MIN_CALIBRATION_EVENTS:
        probabilities = np.array([p for item in predictions for p in item.p_win.values()])
        outcomes = np.array([slot == item.winner for item in predictions for slot in item.p_win])
        scores["ece"] = calibration_error(probabilities, outcomes)
    return scores


def _base_rates(connection: Connection) -> dict[int, float]:
    """Wins per slot known before the first prediction, plus one each, so that no slot is impossible."""
    first = connection.execute("SELECT min(as_of) FROM analytics.predictions WHERE NOT shadow").fetchone()
    wins = connection.execute(queries.WINS_BEFORE, {"before": first[0] if first else None}).fetchall()
    return {int(slot): float(count) + 1 for slot, count in wins}


def _base_probability(prediction: StoredPrediction, wins: Mapping[int, float]) -> float:
    return wins.get(prediction.winner, 1.0) / sum(wins.get(slot, 1.0) for slot in prediction.p_win)


def _mean_nats(probabilities: Floats) -> float:
    return float(-np.log(np.maximum(probabilities, MIN_PROBABILITY)).mean())
