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
from services.predictor.learners.boosting.lightgbm_model import trees_in
from services.predictor.learners.boosting.trees import Trees, trees_of
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.softmax import derivatives, first_places, softmax, winner_loss
from shared.errors import ConfigError


@dataclass(frozen=True)
class BoostingOptions:
    leaves: int = 15
    rate: float = 0.04
    least_rows_in_leaf: int = 400
    feature_fraction: float = 0.2
    bagging_fraction: float = 0.8
    l2: float = 20.0
    most_trees: int = 1500
    patience_trees: int = 60


@dataclass(frozen=True)
class Boosting:
    """`curve`: validation log-loss in nats after each tree, also after those dropped. `gain` (F,): of each feature."""

    trees: Trees
    curve: tuple[float, ...] = ()
    gain: Floats = field(default_factory=lambda: np.zeros(0))

    def scores(self, entry: Floats32, taken: Bools) -> Floats:
        """(n, S, F) -> (n, S): -inf for empty slots. An event's scores do not depend on the other events."""
        found = np.full(taken.shape, -np.inf)
        found[taken] = self.trees.sums(entry[taken])
        return found

    def probabilities(self, entry: Floats32, taken: Bools) -> Floats:
        """(n, S), rows sum to 1."""
        return softmax(self.scores(entry, taken), taken)

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
    lightgbm = loaded_lightgbm()
    fit, judged = _Objective.of(data, data.won_training, places), _Objective.of(data, data.won_validation)
    dataset = lightgbm.Dataset(fit.entries(data.entry))
    check = lightgbm.Dataset(judged.entries(data.entry), reference=dataset)
    return _boosted(
        dataset,
        check,
        _parameters(seed, options) | {"objective": fit.derivatives},
        options,
        "log_loss",
        lambda scores, _: ("log_loss", judged.loss(scores), False),
    )


def fit_chances(data: ChoiceData, came: Bools, seed: int, options: BoostingOptions) -> Boosting:
    """Fits the log-odds that `labels` (n, S) is true, each entry by itself, e.g. a place among the first three."""
    lightgbm = loaded_lightgbm()
    fit, judged = (
        (data.entry[rows][data.taken[rows]], came[rows][data.taken[rows]].astype(np.float64))
        for rows in (data.training, data.validation)
    )
    dataset = lightgbm.Dataset(*fit)
    check = lightgbm.Dataset(*judged, reference=dataset)
    parameters = _parameters(seed, options) | {"objective": "binary", "metric": "binary_logloss"}
    return _boosted(dataset, check, parameters, options, "binary_logloss")


def _boosted(
    dataset: Any, check: Any, parameters: dict[str, Any], options: BoostingOptions, metric: str, feval: Any = None
) -> Boosting:
    """`dataset`, `validation_set`: a lightgbm.Dataset each, for fitting and for early stopping."""
    lightgbm = loaded_lightgbm()
    losses: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        parameters,
        dataset,
        options.most_trees,
        valid_sets=[check],
        valid_names=["validation"],
        feval=feval,
        callbacks=[lightgbm.early_stopping(options.patience_trees, verbose=False), lightgbm.record_evaluation(losses)],
    )
    kept = booster.best_iteration or booster.current_iteration()
    return Boosting(
        trees_in(booster.model_to_string(num_iteration=kept)),
        tuple(losses["validation"][metric]),
        np.asarray(booster.feature_importance("gain", iteration=kept), dtype=np.float64),
    )


def loaded_lightgbm() -> Any:
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
        "min_data_in_leaf": options.least_rows_in_leaf,
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
    taken: Bools
    winner: Ints
    order: Ints

    @classmethod
    def of(cls, data: ChoiceData, rows: Ints, places: Floats | None = None) -> _Objective:
        winner = data.winner[rows]
        order = winner[:, None] if places is None else first_places(places[rows], winner)
        return cls(rows, data.taken[rows], winner, order)

    def entries(self, entry: Floats32) -> Floats32:
        """(n, S, F) -> LightGBM's rows."""
        event, slot = self.taken.nonzero()
        return entry[self.rows[event], slot]

    def derivatives(self, scores: Floats, _: Any) -> tuple[Floats, Floats]:
        gradient, curvature = derivatives(self._spread(scores), self.taken, self.order)
        return gradient[self.taken], curvature[self.taken]

    def loss(self, scores: Floats) -> float:
        return float(winner_loss(self._spread(scores), self.taken, self.winner).mean())

    def _spread(self, scores: Floats) -> Floats:
        found = np.zeros(self.taken.shape)
        found[self.taken] = scores
        return found
