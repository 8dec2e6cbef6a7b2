"""Settled history -> a trained model. No files, no clock; the same events, split and seed give the same weights.

The newest days are kept for validation, never a random choice: a model is asked about days it has not seen. They stop
the training of each member and fit the pooling; no weight of a member has learned from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import STATES, Events, Ints, State
from services.predictor.data.profile import Profile
from services.predictor.data.split import Split
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.cross_fitting import out_of_fold_probabilities
from services.predictor.learners.serial import Run, one_by_one
from services.predictor.model.ensemble import Member, Probabilities, Trained
from services.predictor.policy.agent import Policy, train_policy
from services.predictor.policy.environment import episodes_of
from services.predictor.policy.hyperparameters import Progress
from services.predictor.policy.learning_curve import watching
from services.predictor.training.assembly import pooled_model
from services.predictor.training.dataset import Ground, ground_of
from services.predictor.training.hyperparameters import Training, training_for
from services.predictor.training.members import jobs_of, lines_of


@dataclass(frozen=True)
class Made:
    """A model without a version, and what its pictures are drawn from."""

    model: Trained
    curves: dict[str, tuple[float, ...]]
    policy_curves: list[list[Progress]]
    validation: dict[State, Validated]


class Validated(NamedTuple):
    """What the model says of the validation events of a state."""

    events: Events
    told: Probabilities
    winner: Ints


def train(
    events: Events,
    profile: Profile,
    split: Split,
    seed: int,
    log: Callable[[str], None],
    progress: Callable[[float], None] = lambda _: None,
    run: Run = one_by_one,
    training: Training | None = None,
    without: Sequence[str] = (),
) -> Made:
    """`without`: feature groups that are treated as unknown, to learn what they are worth.

    Raises ConfigError where there is too little to learn from.
    """
    ground = ground_of(events, profile, split, without)
    count = int(ground.lesson.training.sum())
    plan = training or training_for(count)
    log(f"{count} events to learn from, {int(ground.lesson.validating.sum())} to validate on; features are made")
    progress(0.1)
    lesson = replace(ground.lesson, lines=lines_of(ground, plan, run))
    progress(0.2)
    jobs, members = jobs_of(ground, lesson, plan, seed)
    learned = run(jobs, lambda done: progress(0.2 + 0.6 * done / len(jobs)))
    made = pooled_model(ground, members, learned, seed, plan.tree_share)
    progress(0.85)
    log(_line(made.description.metrics))
    made, policy_curves = taught(ground, made, plan, seed, run)
    validation = {
        state: Validated(
            ground.events[rows], made.probabilities(ground.lesson.inputs[state][rows]), ground.winner[rows]
        )
        for state, rows in ground.rows.items()
    }
    progress(1.0)
    curves = {_label(member): curve for member, (_, curve) in zip(made.description.members, learned, strict=True)}
    return Made(made, curves, policy_curves, validation)


def taught(ground: Ground, model: Trained, plan: Training, seed: int, run: Run) -> tuple[Trained, list[list[Progress]]]:
    """With a policy that learned from the training events, as they were observed.

    It must not take the model's certainty about its own training events at face value: their chances to win come from
    trees that were fitted without them. None where no event says what its winner paid.
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
