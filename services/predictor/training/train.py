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
from services.predictor.learners.serial import Run
from services.predictor.model.ensemble import Member, Probabilities, Trained
from services.predictor.policy.agent import Policy, train_policy
from services.predictor.policy.environment import episodes_of
from services.predictor.policy.hyperparameters import Progress
from services.predictor.policy.learning_curve import watching
from services.predictor.training.assembly import pooled_model
from services.predictor.training.dataset import Ground
from services.predictor.training.hyperparameters import Training, training_for
from services.predictor.training.members import jobs_of, lines_of
from services.predictor.training.request import TrainingContext


@dataclass(frozen=True)
class Made:
    """A model without a version, and the data for its pictures."""

    model: Trained
    curves: dict[str, tuple[float, ...]]
    policy_curves: list[list[Progress]]
    validation: dict[State, Validated]


class Validated(NamedTuple):
    """The model's predictions of the validation events of a state."""

    events: Events
    told: Probabilities
    winner: Ints


def train(ground: Ground, seed: int, context: TrainingContext, plan: Training | None = None) -> Made:
    """`config`: None chooses one by the number of events."""
    count, progress = int(ground.lesson.training.sum()), context.progress
    plan = plan or training_for(count)
    context.log(f"features computed: {count} training events, {int(ground.lesson.validating.sum())} validation events")
    progress(0.1)
    lines = lines_of(ground, plan, context.executor)
    ground = replace(ground, lesson=replace(ground.lesson, lines=lines))
    progress(0.2)
    jobs = jobs_of(ground, plan, seed)
    learned = context.executor(jobs, lambda done: progress(0.2 + 0.6 * done / len(jobs)))
    made = pooled_model(ground, learned, seed, plan.tree_share)
    progress(0.85)
    context.log(_line(made.description.metrics))
    made, policy_curves = taught(ground, made, plan, seed, context.executor)
    validation = {
        state: Validated(
            ground.events[rows], made.probabilities(ground.lesson.inputs[state][rows]), ground.winner[rows]
        )
        for state, rows in ground.rows.items()
    }
    progress(1.0)
    return Made(made, {_label(member): curve for member, _, curve in learned}, policy_curves, validation)


def taught(ground: Ground, model: Trained, plan: Training, seed: int, run: Run) -> tuple[Trained, list[list[Progress]]]:
    """Adds a policy that is trained on the training events, as they were observed.

    A policy must be trained on out-of-fold probabilities, never on a model's predictions for its own training events:
    P(win) comes from trees that were fitted without them. Adds none if no event has a payout of its winner.
    """
    if plan.policy is None or not np.isfinite(ground.events.win_amount).any():
        return model, []
    lesson = ground.lesson
    rows, judged = np.flatnonzero(lesson.training), ground.rows.get("observation", ground.rows["card"])
    inputs = lesson.inputs["observation"]
    data = ChoiceData(tree_entries(inputs), inputs.taken, ground.winner, rows, np.flatnonzero(lesson.validating))
    win = out_of_fold_probabilities(data, ground.events.day, seed, plan.boosting, run)
    told = replace(model.probabilities(inputs[rows]), win=win)
    scene = model.scene(inputs[rows], told)
    seen = inputs[judged]
    watch = watching(model.scene(seen), episodes_of(ground.events[judged], "observation"))
    learning = plan.policy.model_copy(update={"seed": seed})
    episodes = episodes_of(ground.events[rows], "observation")
    policy, curves = train_policy(scene, episodes, learning, plan.policy_members, watch, run)
    return with_policy(model, policy), curves


def with_policy(model: Trained, policy: Policy) -> Trained:
    description = model.description.model_copy(update={"policy": policy.description})
    return replace(model, description=description, policy=policy)


def _label(member: Member) -> str:
    return f"{member.kind} {member.seed}" if member.state is None else f"{member.kind} {member.state} {member.seed}"


def _line(metrics: dict[str, float]) -> str:
    return "; ".join(
        f"{state}: log-loss {metrics[f'{state}_result']:.4f}, base rate {metrics[f'{state}_result_base']:.4f}"
        for state in STATES
        if f"{state}_result" in metrics
    )
