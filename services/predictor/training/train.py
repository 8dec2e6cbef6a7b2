"""Trains a model on settled history. The same events, split and seed give the same weights.

The newest days are held out for validation, never a random sample, because a model predicts days it has not seen.
Validation stops the training of each member and fits the pooling; no member's weights are fitted to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import STATES, Events, Ints, State
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.cross_fitting import out_of_fold_probabilities
from services.predictor.learners.serial import Executor
from services.predictor.model.ensemble import Ensemble, Member, Probabilities
from services.predictor.policy.agent import DqnPolicy, train_policy
from services.predictor.policy.environment import episodes_of
from services.predictor.policy.hyperparameters import EpochMetrics
from services.predictor.policy.learning_curve import network_evaluator
from services.predictor.training.assembly import assemble_ensemble
from services.predictor.training.dataset import TrainingSet
from services.predictor.training.hyperparameters import EnsembleConfig, ensemble_config_for
from services.predictor.training.members import fit_jobs, fit_linear_terms
from services.predictor.training.request import TrainingContext


@dataclass(frozen=True)
class TrainingResult:
    """A model without a version, and the data for its pictures."""

    model: Ensemble
    curves: dict[str, tuple[float, ...]]
    policy_curves: list[list[EpochMetrics]]
    validation: dict[State, ValidationPredictions]


class ValidationPredictions(NamedTuple):
    """The model's predictions of the validation events of a state."""

    events: Events
    probabilities: Probabilities
    winner: Ints


def train(
    dataset: TrainingSet, seed: int, context: TrainingContext, config: EnsembleConfig | None = None
) -> TrainingResult:
    """`config`: None chooses one by the number of events."""
    count, progress = int(dataset.examples.training.sum()), context.progress
    config = config or ensemble_config_for(count)
    context.log(
        f"features computed: {count} training events, {int(dataset.examples.validation.sum())} validation events"
    )
    progress(0.1)
    linear_init = fit_linear_terms(dataset, config, context.executor)
    dataset = replace(dataset, examples=replace(dataset.examples, linear_init=linear_init))
    progress(0.2)
    jobs = fit_jobs(dataset, config, seed)
    fitted_members = context.executor(jobs, lambda done: progress(0.2 + 0.6 * done / len(jobs)))
    model = assemble_ensemble(dataset, fitted_members, seed, config.tree_share)
    progress(0.85)
    context.log(_metrics_text(model.description.metrics))
    model, policy_curves = with_trained_policy(dataset, model, config, seed, context.executor)
    validation = {
        state: ValidationPredictions(
            dataset.events[rows], model.probabilities(dataset.examples.inputs[state][rows]), dataset.winner[rows]
        )
        for state, rows in dataset.rows.items()
    }
    progress(1.0)
    return TrainingResult(
        model, {_label(member): curve for member, _, curve in fitted_members}, policy_curves, validation
    )


def with_trained_policy(
    dataset: TrainingSet, model: Ensemble, config: EnsembleConfig, seed: int, executor: Executor
) -> tuple[Ensemble, list[list[EpochMetrics]]]:
    """Adds a policy that is trained on the training events, as they were observed.

    A policy must be trained on out-of-fold probabilities, never on a model's predictions for its own training events:
    P(win) comes from trees that were fitted without them. Adds none if no event has a payout of its winner.
    """
    if config.policy is None or not np.isfinite(dataset.events.win_amount).any():
        return model, []
    examples = dataset.examples
    rows, validation_rows = np.flatnonzero(examples.training), dataset.rows.get("observation", dataset.rows["card"])
    inputs = examples.inputs["observation"]
    data = ChoiceData(tree_entries(inputs), inputs.occupied, dataset.winner, rows, np.flatnonzero(examples.validation))
    win = out_of_fold_probabilities(data, dataset.events.day, seed, config.boosting, executor)
    probabilities = replace(model.probabilities(inputs[rows]), win=win)
    context = model.policy_context(inputs[rows], probabilities)
    validation_inputs = inputs[validation_rows]
    evaluate = network_evaluator(
        model.policy_context(validation_inputs), episodes_of(dataset.events[validation_rows], "observation")
    )
    dqn_config = config.policy.model_copy(update={"seed": seed})
    episodes = episodes_of(dataset.events[rows], "observation")
    policy, curves = train_policy(context, episodes, dqn_config, config.policy_members, evaluate, executor)
    return with_policy(model, policy), curves


def with_policy(model: Ensemble, policy: DqnPolicy) -> Ensemble:
    description = model.description.model_copy(update={"policy": policy.description})
    return replace(model, description=description, policy=policy)


def _label(member: Member) -> str:
    return f"{member.kind} {member.seed}" if member.state is None else f"{member.kind} {member.state} {member.seed}"


def _metrics_text(metrics: dict[str, float]) -> str:
    return "; ".join(
        f"{state}: log-loss {metrics[f'{state}_result']:.4f}, base rate {metrics[f'{state}_result_base']:.4f}"
        for state in STATES
        if f"{state}_result" in metrics
    )
