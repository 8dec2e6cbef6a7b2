"""Scores the live predictions of settled events against the base rate and, if given, the true probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.predictor.data.events import STATES, Floats
from services.predictor.evaluation.measures import LEAST, calibration_error
from services.predictor.storage import queries
from services.predictor.storage.interface import Told
from services.predictor.storage.postgres_facts import Connection, read_told

# With fewer events the calibration error is mostly chance: 15 bins with a handful of events each.
LEAST_FOR_CALIBRATION = 100


def evaluate(connection: Connection, truth: Mapping[str, Sequence[float]] | None = None) -> dict[str, Any]:
    """Per state: n, log_loss, base_log_loss and, where available, truth_log_loss and ece. Log-losses are in nats.

    `truth`: by event key, P(win) of the slots from slot 1 on; if given, only its events count. All figures of a state
    cover the same events. The base rate is each slot's share of wins in the events settled before the first prediction.
    """
    told = [item for item in read_told(connection) if truth is None or item.event_key in truth]
    rates = _base_rates(connection) if told else {}
    found: dict[str, Any] = {}
    for state in STATES:
        of_state = [item for item in told if item.state == state]
        if of_state:
            found[state] = _judged(of_state, rates, truth)
    return found


def _judged(
    told: Sequence[Told], rates: Mapping[int, float], truth: Mapping[str, Sequence[float]] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "n": len(told),
        "log_loss": _mean_nats(np.array([item.p_win.get(item.winner, 0.0) for item in told])),
        "base_log_loss": _mean_nats(np.array([_base(item, rates) for item in told])),
    }
    if truth is not None:
        found["truth_log_loss"] = _mean_nats(np.array([truth[item.event_key][item.winner - 1] for item in told]))
    if len(told) >= LEAST_FOR_CALIBRATION:
        said = np.array([p for item in told for p in item.p_win.values()])
        came = np.array([slot == item.winner for item in told for slot in item.p_win])
        found["ece"] = calibration_error(said, came)
    return found


def _base_rates(connection: Connection) -> dict[int, float]:
    """Wins per slot known before the first prediction, plus one each, so that no slot is impossible."""
    first = connection.execute("SELECT min(as_of) FROM analytics.predictions WHERE NOT shadow").fetchone()
    wins = connection.execute(queries.WINS_BEFORE, {"before": first[0] if first else None}).fetchall()
    return {int(slot): float(count) + 1 for slot, count in wins}


def _base(told: Told, wins: Mapping[int, float]) -> float:
    return wins.get(told.winner, 1.0) / sum(wins.get(slot, 1.0) for slot in told.p_win)


def _mean_nats(probabilities: Floats) -> float:
    return float(-np.log(np.maximum(probabilities, LEAST)).mean())
