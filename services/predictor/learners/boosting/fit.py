"""Gradient-boosted trees over single entries, with a softmax of their scores over the event.

LightGBM trains the trees and is imported here only. The result is plain arrays, which `trees` evaluates without it, so
serving does not need LightGBM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.data.events import Bools, Floats, Floats32, Ints
from services.predictor.learners.boosting.lightgbm_model import parse_trees
from services.predictor.learners.boosting.trees import Trees, trees_of
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.softmax import first_places, loss_derivatives, softmax, winner_loss
from shared.errors import ConfigError


@dataclass(frozen=True)
class BoostingOptions:
    leaves: int = 15
    rate: float = 0.04
    min_rows_in_leaf: int = 400
    feature_fraction: float = 0.2
    bagging_fraction: float = 0.8
    l2: float = 20.0
    max_trees: int = 1500
    patience_trees: int = 60


@dataclass(frozen=True)
class Boosting:
    """`curve`: validation log-loss in nats after each tree, also after those dropped. `gain` (F,): of each feature."""

    trees: Trees
    curve: tuple[float, ...] = ()
    gain: Floats = field(default_factory=lambda: np.zeros(0))

    def scores(self, entry: Floats32, occupied: Bools) -> Floats:
        """(n, S, F) -> (n, S): -inf for empty slots. An event's scores do not depend on the other events."""
        by_slot = np.full(occupied.shape, -np.inf)
        by_slot[occupied] = self.trees.sums(entry[occupied])
        return by_slot

    def probabilities(self, entry: Floats32, occupied: Bools) -> Floats:
        """(n, S), rows sum to 1."""
        return softmax(self.scores(entry, occupied), occupied)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return self.trees.arrays()


def boosting_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Boosting:
    """Restores from `Boosting.arrays`. Raises ConfigError if the arrays are not valid trees."""
    return Boosting(trees_of(arrays))


def fit_boosting(data: ChoiceData, seed: int, options: BoostingOptions, places: Floats | None = None) -> Boosting:
    """Fits the number of trees that is best on the validation rows. Events without a winner are skipped.

    With places (n, S), second and third places count too (Plackett-Luce); validation uses the winner alone. The same
    data, seed and options give the same trees.
    """
    lightgbm = import_lightgbm()
    fit, validation = (
        _Objective.of(data, data.training_with_winner, places),
        _Objective.of(data, data.validation_with_winner),
    )
    dataset = lightgbm.Dataset(fit.entries(data.entry))
    validation_set = lightgbm.Dataset(validation.entries(data.entry), reference=dataset)
    return _train(
        dataset,
        validation_set,
        _parameters(seed, options) | {"objective": fit.derivatives},
        options,
        "log_loss",
        lambda scores, _: ("log_loss", validation.loss(scores), False),
    )


def fit_binary(data: ChoiceData, labels: Bools, seed: int, options: BoostingOptions) -> Boosting:
    """Fits the log-odds that `labels` (n, S) is true, each entry by itself, e.g. a place among the first three."""
    lightgbm = import_lightgbm()
    fit, validation = (
        (data.entry[rows][data.occupied[rows]], labels[rows][data.occupied[rows]].astype(np.float64))
        for rows in (data.training, data.validation)
    )
    dataset = lightgbm.Dataset(*fit)
    validation_set = lightgbm.Dataset(*validation, reference=dataset)
    parameters = _parameters(seed, options) | {"objective": "binary", "metric": "binary_logloss"}
    return _train(dataset, validation_set, parameters, options, "binary_logloss")


def _train(
    dataset: Any,
    validation_set: Any,
    parameters: dict[str, Any],
    options: BoostingOptions,
    metric: str,
    feval: Any = None,
) -> Boosting:
    """`dataset`, `validation_set`: a lightgbm.Dataset each, for fitting and for early stopping."""
    lightgbm = import_lightgbm()
    losses: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        parameters,
        dataset,
        options.max_trees,
        valid_sets=[validation_set],
        valid_names=["validation"],
        feval=feval,
        callbacks=[lightgbm.early_stopping(options.patience_trees, verbose=False), lightgbm.record_evaluation(losses)],
    )
    best_iteration = booster.best_iteration or booster.current_iteration()
    return Boosting(
        parse_trees(booster.model_to_string(num_iteration=best_iteration)),
        tuple(losses["validation"][metric]),
        np.asarray(booster.feature_importance("gain", iteration=best_iteration), dtype=np.float64),
    )


def import_lightgbm() -> Any:
    """Imported on first use: serving does not need it. Raises ConfigError if its native library does not load."""
    try:
        import lightgbm  # noqa: PLC0415
    except OSError as error:
        raise ConfigError(
            f"LightGBM cannot be loaded: {error}. It needs OpenMP: on Debian and Ubuntu, apt install libgomp1"
        ) from error
    return lightgbm


def _parameters(seed: int, options: BoostingOptions) -> dict[str, Any]:
    return {
        "num_leaves": options.leaves,
        "learning_rate": options.rate,
        "min_data_in_leaf": options.min_rows_in_leaf,
        "feature_fraction": options.feature_fraction,
        "bagging_fraction": options.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": options.l2,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


@dataclass(frozen=True)
class _Objective:
    """LightGBM objective. LightGBM's rows are the occupied entries of the events `rows`, event by event."""

    rows: Ints
    occupied: Bools
    winner: Ints
    order: Ints

    @classmethod
    def of(cls, data: ChoiceData, rows: Ints, places: Floats | None = None) -> _Objective:
        winner = data.winner[rows]
        order = winner[:, None] if places is None else first_places(places[rows], winner)
        return cls(rows, data.occupied[rows], winner, order)

    def entries(self, entry: Floats32) -> Floats32:
        """(n, S, F) -> LightGBM's rows."""
        event, slot = self.occupied.nonzero()
        return entry[self.rows[event], slot]

    def derivatives(self, scores: Floats, _: Any) -> tuple[Floats, Floats]:
        gradient, curvature = loss_derivatives(self._by_slot(scores), self.occupied, self.order)
        return gradient[self.occupied], curvature[self.occupied]

    def loss(self, scores: Floats) -> float:
        return float(winner_loss(self._by_slot(scores), self.occupied, self.winner).mean())

    def _by_slot(self, scores: Floats) -> Floats:
        by_slot = np.zeros(self.occupied.shape)
        by_slot[self.occupied] = scores
        return by_slot
