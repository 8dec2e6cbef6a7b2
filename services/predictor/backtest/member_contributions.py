"""Scores each member of a model on its own, and measures what pooling them gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Floats, Ints, State
from services.predictor.evaluation.comparison import EvaluationSet
from services.predictor.evaluation.tables import Cell
from services.predictor.features.inputs import Inputs, tree_entries
from services.predictor.learners.boosting.fit import Boosting
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.softmax import softmax
from services.predictor.model.ensemble import NETWORK, TREES, Ensemble, tree_scores
from services.predictor.model.pooling import Pooling, fit_result, pool_win

KINDS = {NETWORK: "networks alone", TREES: "trees alone"}


@dataclass(frozen=True)
class MemberScores:
    """Scores (n, S) of each member that predicts in this state, by kind."""

    networks: list[Floats]
    trees: list[Floats]

    def of(self, kind: str) -> list[Floats]:
        return self.networks if kind == NETWORK else self.trees


def scores_of(model: Ensemble, inputs: Inputs, state: State) -> MemberScores:
    networks = [logits_of(network, inputs).result.double().numpy() for network in model.networks]
    entries = tree_entries(inputs)
    trees = [
        tree_scores(fitted, entries, inputs.occupied)
        for member, fitted in model.members
        if member.kind == TREES and member.state == state and isinstance(fitted, Boosting)
    ]
    return MemberScores(networks, trees)


def calibrate_kind(
    model: Ensemble, state: State, kind: str, validation_scores: MemberScores, validation: Inputs, winner: Ints
) -> Pooling | None:
    """Pooling of the members of one kind only, calibrated on the validation events like the whole model. None: no such
    member predicts in this state."""
    if not validation_scores.of(kind):
        return None
    weight, _, bias = fit_result(_mean(validation_scores.of(kind)), [], validation.occupied, winner)
    weights = {"networks": weight, "trees": 0.0} if kind == NETWORK else {"networks": 0.0, "trees": weight}
    return model.description.pooling[state].model_copy(update={**weights, "slot_bias": tuple(bias)})


def contribution_rows(
    model: Ensemble,
    state: State,
    evaluation: EvaluationSet,
    inputs: Inputs,
    win: Floats,
    poolings: dict[str, Pooling | None],
    seed: int,
) -> list[dict[str, Cell]]:
    """Rows of each member uncalibrated, each kind calibrated on its own, and the whole pool, on the same events.

    "gain of the whole": the row's log-loss minus that of the whole model, whose P(win) is `win`.
    """
    scores, occupied = scores_of(model, inputs, state), inputs.occupied
    probabilities = {
        f"{kind} {number}": softmax(each, occupied)
        for kind in (NETWORK, TREES)
        for number, each in enumerate(scores.of(kind), start=1)
    }
    probabilities |= {
        KINDS[kind]: pool_win(pooling, _mean(scores.networks), scores.trees, occupied)
        for kind, pooling in poolings.items()
        if pooling is not None
    }
    rows: list[dict[str, Cell]] = [
        {
            "state": state,
            "member": name,
            "events": len(inputs),
            "log_loss": float(evaluation.losses(member_win).mean()),
            "gain of the whole": evaluation.difference(member_win, win, seed),
        }
        for name, member_win in probabilities.items()
    ]
    whole: dict[str, Cell] = {"state": state, "member": "pooled", "events": len(inputs)}
    return [*rows, whole | {"log_loss": float(evaluation.losses(win).mean())}]


def _mean(scores: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean(scores, axis=0), dtype=np.float64)
