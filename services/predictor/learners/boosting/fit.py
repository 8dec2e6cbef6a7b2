"""Gradient-boosted trees over single entries whose scores meet in a softmax over the event.

LightGBM trains them (imported here only: serving does without it); what comes out are plain arrays, evaluated by
`trees` without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.data.events import Bools, Floats, Floats32, Ints
from services.predictor.learners.boosting.lightgbm_model import trees_in
from services.predictor.learners.boosting.trees import Trees, trees_of
from services.predictor.learners.softmax import derivatives, first_places, softmax, winner_loss
from shared.errors import ConfigError

TELL_EVERY = 20


@dataclass(frozen=True)
class BoostingOptions:
    """`hessian_factor` above 1 makes steps smaller where the diagonal alone understates the curvature."""

    leaves: int = 15
    rate: float = 0.04
    least_rows_in_leaf: int = 400
    feature_fraction: float = 0.2
    bagging_fraction: float = 0.8
    l2: float = 20.0
    most_trees: int = 1500
    patience_trees: int = 60
    hessian_factor: float = 1.0
    threads: int = 1


@dataclass(frozen=True)
class Boosting:
    """`curve`: validation log-loss in nats after each tree tried, the kept ones first. `gain` (F,): of each feature."""

    trees: Trees
    curve: tuple[float, ...] = ()
    gain: Floats = field(default_factory=lambda: np.zeros(0))

    def scores(self, entry: Floats32, taken: Bools) -> Floats:
        """(n, S, F) -> (n, S): -inf where nothing is taken; an event's scores do not depend on the others."""
        found = np.full(taken.shape, -np.inf)
        found[taken] = self.trees.sums(entry[taken])
        return found

    def probabilities(self, entry: Floats32, taken: Bools) -> Floats:
        """(n, S), rows sum to 1."""
        return softmax(self.scores(entry, taken), taken)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return self.trees.arrays()


def boosting_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Boosting:
    """Of what `Boosting.arrays` gave; ConfigError where they are not trees."""
    return Boosting(trees_of(arrays))


def fit_boosting(
    entry: Floats32,
    taken: Bools,
    winner: Ints,
    training: Ints,
    validation: Ints,
    seed: int,
    options: BoostingOptions | None = None,
    log: Callable[[int, float], None] | None = None,
    weights: Floats | None = None,
    places: Floats | None = None,
) -> Boosting:
    """Trained on the events (row indices) `training`, as many trees as are best on `validation`.

    winner (n,): slot index, -1 where there is none (such events are left out). weights (n,): of events. places
    (n, S): with them, second and third places count too (Plackett-Luce); validation judges the winner alone.
    `log` gets the number of trees and the validation log-loss now and then; what it raises ends the training. The
    same data, seed and options give the same trees.
    """
    lightgbm = loaded_lightgbm()
    options = options or BoostingOptions()
    fit = _Objective.of(taken, winner, training[winner[training] >= 0], options, weights, places)
    judged = _Objective.of(taken, winner, validation[winner[validation] >= 0], options)
    data = lightgbm.Dataset(fit.entries(entry))
    check = lightgbm.Dataset(judged.entries(entry), reference=data)
    losses: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        _parameters(seed, options) | {"objective": fit.derivatives},
        data,
        options.most_trees,
        valid_sets=[check],
        valid_names=["validation"],
        feval=lambda scores, _: ("log_loss", judged.loss(scores), False),
        callbacks=[
            lightgbm.early_stopping(options.patience_trees, verbose=False),
            lightgbm.record_evaluation(losses),
            _teller(log),
        ],
    )
    kept = booster.best_iteration or booster.current_iteration()
    return Boosting(
        trees_in(booster.model_to_string(num_iteration=kept)),
        tuple(losses["validation"]["log_loss"]),
        np.asarray(booster.feature_importance("gain", iteration=kept), dtype=np.float64),
    )


def fit_chances(
    entry: Floats32,
    taken: Bools,
    came: Bools,
    training: Ints,
    validation: Ints,
    seed: int,
    options: BoostingOptions | None = None,
) -> Boosting:
    """Each taken entry by itself: the log-odds that `came` (n, S) is true, say a place among the first three."""
    lightgbm = loaded_lightgbm()
    options = options or BoostingOptions()
    data, check = (
        (entry[rows][taken[rows]], came[rows][taken[rows]].astype(np.float64)) for rows in (training, validation)
    )
    fit = lightgbm.Dataset(*data)
    losses: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        _parameters(seed, options) | {"objective": "binary", "metric": "binary_logloss"},
        fit,
        options.most_trees,
        valid_sets=[lightgbm.Dataset(*check, reference=fit)],
        valid_names=["validation"],
        callbacks=[
            lightgbm.early_stopping(options.patience_trees, verbose=False), lightgbm.record_evaluation(losses),
        ],
    )  # fmt: skip
    kept = booster.best_iteration or booster.current_iteration()
    return Boosting(
        trees_in(booster.model_to_string(num_iteration=kept)), tuple(losses["validation"]["binary_logloss"]),
        np.asarray(booster.feature_importance("gain", iteration=kept), dtype=np.float64),
    )  # fmt: skip


def loaded_lightgbm() -> Any:
    """Imported when it is needed: serving does without it. Raises ConfigError where its own library does not load."""
    try:
        import lightgbm  # noqa: PLC0415
    except OSError as error:
        raise ConfigError(
            f"LightGBM cannot be loaded: {error}. It wants OpenMP: on Debian and Ubuntu, apt install libgomp1"
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
        "num_threads": options.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


@dataclass(frozen=True)
class _Objective:
    """The rows of LightGBM are the taken entries of `rows`, event by event."""

    rows: Ints
    taken: Bools
    winner: Ints
    order: Ints
    weights: Floats
    factor: float

    @classmethod
    def of(
        cls,
        taken: Bools,
        winner: Ints,
        rows: Ints,
        options: BoostingOptions,
        weights: Floats | None = None,
        places: Floats | None = None,
    ) -> _Objective:
        order = winner[rows, None] if places is None else first_places(places[rows], winner[rows])
        return cls(
            rows=rows,
            taken=taken[rows],
            winner=winner[rows],
            order=order,
            weights=np.ones(len(rows)) if weights is None else weights[rows],
            factor=options.hessian_factor,
        )

    def entries(self, entry: Floats32) -> Floats32:
        """(n, S, F) -> the rows of LightGBM."""
        event, slot = self.taken.nonzero()
        return entry[self.rows[event], slot]

    def derivatives(self, scores: Floats, _: Any) -> tuple[Floats, Floats]:
        gradient, curvature = derivatives(self._spread(scores), self.taken, self.order)
        weights = self.weights[:, None]
        return (gradient * weights)[self.taken], (curvature * weights * self.factor)[self.taken]

    def loss(self, scores: Floats) -> float:
        return float(winner_loss(self._spread(scores), self.taken, self.winner).mean())

    def _spread(self, scores: Floats) -> Floats:
        found = np.zeros(self.taken.shape)
        found[self.taken] = scores
        return found


def _teller(log: Callable[[int, float], None] | None) -> Callable[[Any], None]:
    def tell(state: Any) -> None:
        if log is not None and (state.iteration + 1) % TELL_EVERY == 0:
            log(state.iteration + 1, float(state.evaluation_result_list[0][2]))

    return tell
