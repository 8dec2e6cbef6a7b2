"""The members of a model as jobs that know nothing of each other: lines first, then networks and trees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints, State
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.boosting.fit import Boosting, fit_boosting, fit_chances
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.conditional_logit import Logit, fit_logit
from services.predictor.learners.network.fit import Lesson, fit
from services.predictor.learners.network.network import Lines, Network, Shape
from services.predictor.learners.serial import Run
from services.predictor.model.ensemble import Member
from services.predictor.training.dataset import Ground, seen_in
from services.predictor.training.hyperparameters import Training

LINE_PENALTIES = (30.0, 300.0, 1000.0, 3000.0)

Learned = tuple[Network | Boosting, tuple[float, ...]]
"""A member and its curve: the validation loss after each epoch or tree."""
Job = Callable[[], Learned]


def lines_of(ground: Ground, plan: Training, run: Run) -> Lines:
    """A conditional logit a state; where nothing was observed, the card's speaks for both."""
    states = list(ground.rows)
    logits = run([partial(_line_of, ground, state, plan.places) for state in states])
    found: dict[State, tuple[Floats, Floats]] = {}
    for state, logit in zip(states, logits, strict=True):
        width = len(logit.columns)
        found[state] = logit.weights[:width], logit.weights[width:]
    card = found["card"]
    return Lines(*card, *found.get("observation", card), ground.lesson.lines.top3_rate)


def _line_of(ground: Ground, state: State, places: bool) -> Logit:
    """`places`: also from who came second and third, each among those that were left by then."""
    lesson, judged = ground.lesson, ground.rows[state]
    inputs, rows = lesson.inputs[state], np.flatnonzero(lesson.training & seen_in(lesson, state))
    entry, taken, winner = inputs.entry, inputs.taken, ground.winner
    if places:
        rounds = [_left_at(lesson.targets.places, taken, place) for place in (2, 3)]
        taken = np.concatenate([taken, *(left for left, _ in rounds)])
        winner = np.concatenate([winner, *(first for _, first in rounds)])
        entry = np.concatenate([entry] * (1 + len(rounds)))
        rows = np.concatenate([rows + len(inputs) * turn for turn in range(1 + len(rounds))])
    return fit_logit(ChoiceData(entry, taken, winner, rows, judged), np.arange(entry.shape[2]), LINE_PENALTIES)


def _left_at(places: Ints, taken: Bools, place: int) -> tuple[Bools, Ints]:
    """(n, S), (n,): who was left when this place was given, and the slot that got it; -1 where that is not one."""
    got = places == place
    sole = (got.sum(axis=1) == 1) & np.all([(places == each).sum(axis=1) == 1 for each in range(1, place)], axis=0)
    return taken & ~((places >= 1) & (places < place)), np.where(sole, got.argmax(axis=1), -1)


def jobs_of(ground: Ground, lesson: Lesson, plan: Training, seed: int) -> tuple[list[Job], list[Member]]:
    shape = ground.shape.model_copy(update={"width": plan.width, "dropout": plan.dropout})
    jobs: list[Job] = [
        partial(_network, shape, lesson, plan, seed + member) for member in range(plan.networks)
    ]  # fmt: skip
    members = [Member(kind="network", state=None, seed=seed + member, log_loss=0.0) for member in range(plan.networks)]
    counts: dict[State, int] = {"observation": plan.observation_trees, "card": plan.card_trees}
    for state, count in counts.items():
        if state in ground.rows:
            jobs += [partial(_trees, lesson, plan, state, seed + member) for member in range(count)]
            members += [Member(kind="trees", state=state, seed=seed + member, log_loss=0.0) for member in range(count)]
    for state in ground.rows:
        jobs += [partial(_top3_trees, lesson, plan, state, seed + member) for member in range(plan.top3_trees)]
        members += [
            Member(kind="top3_trees", state=state, seed=seed + member, log_loss=0.0)
            for member in range(plan.top3_trees)
        ]
    return jobs, members


def _network(shape: Shape, lesson: Lesson, plan: Training, seed: int) -> Learned:
    network, curve = fit(shape, lesson, plan.network, seed, lambda _: None)
    return network, tuple(curve)


def _trees(lesson: Lesson, plan: Training, state: State, seed: int) -> Learned:
    places = np.where(lesson.targets.places > 0, lesson.targets.places, np.nan).astype(np.float64)
    trees = fit_boosting(_tree_data(lesson, state), seed, plan.boosting, places if plan.places else None)
    return trees, trees.curve


def _top3_trees(lesson: Lesson, plan: Training, state: State, seed: int) -> Learned:
    places = lesson.targets.places
    trees = fit_chances(_tree_data(lesson, state), (places >= 1) & (places <= 3), seed, plan.boosting)
    return trees, trees.curve


def _tree_data(lesson: Lesson, state: State) -> ChoiceData:
    inputs, usable = lesson.inputs[state], seen_in(lesson, state)
    training, validation = (np.flatnonzero(rows & usable) for rows in (lesson.training, lesson.validating))
    return ChoiceData(tree_entries(inputs), inputs.taken, lesson.targets.winner, training, validation)
