"""Fits the members of a model as independent jobs: linear terms first, then networks and trees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints, State
from services.predictor.evaluation.quality import in_first_places
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.boosting.fit import Boosting, fit_boosting, fit_chances
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.conditional_logit import Logit, fit_logit
from services.predictor.learners.network.fit import Lesson, fit
from services.predictor.learners.network.network import Lines, Network
from services.predictor.learners.serial import Run
from services.predictor.model.ensemble import NETWORK, TOP3_TREES, TREES, Kind, Member
from services.predictor.training.dataset import Ground, seen_in
from services.predictor.training.hyperparameters import Training

LINE_PENALTIES = (30.0, 300.0, 1000.0, 3000.0)


class Learned(NamedTuple):
    """A fitted member. `curve`: its validation loss after each epoch or tree."""

    member: Member
    model: Network | Boosting
    curve: tuple[float, ...]


Job = Callable[[], Learned]


def lines_of(ground: Ground, plan: Training, run: Run) -> Lines:
    """One conditional logit per state; without observations, the card's is used for both states."""
    states = list(ground.rows)
    logits = run([partial(_line_of, ground, state, plan.places) for state in states])
    found: dict[State, tuple[Floats, Floats]] = {}
    for state, logit in zip(states, logits, strict=True):
        width = len(logit.columns)
        found[state] = logit.weights[:width], logit.weights[width:]
    card = found["card"]
    return Lines(*card, *found.get("observation", card), ground.lesson.lines.top3_rate)


def _line_of(ground: Ground, state: State, places: bool) -> Logit:
    """`places`: also fit to second and third places, each among the entries without a better place."""
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
    """(n, S), (n,): entries without a better place, and the slot in this place; -1 if this or a better place was not
    taken by exactly one entry."""
    got = places == place
    sole = (got.sum(axis=1) == 1) & np.all([(places == each).sum(axis=1) == 1 for each in range(1, place)], axis=0)
    return taken & ~((places >= 1) & (places < place)), np.where(sole, got.argmax(axis=1), -1)


def jobs_of(ground: Ground, plan: Training, seed: int) -> list[Job]:
    """The fit of each member, in the order of the model's members."""
    fits: dict[str, Callable[[Ground, Training, Member], Learned]] = {
        NETWORK: _network,
        TREES: _trees,
        TOP3_TREES: _top3_trees,
    }
    return [partial(fits[member.kind], ground, plan, member) for member in members_of(ground, plan, seed)]


def members_of(ground: Ground, plan: Training, seed: int) -> list[Member]:
    """Networks predict in both states, each tree member in one of the states with training events."""
    counts: list[tuple[Kind, State | None, int]] = [
        ("network", None, plan.networks),
        ("trees", "observation", plan.observation_trees),
        ("trees", "card", plan.card_trees),
        *(("top3_trees", state, plan.top3_trees) for state in ground.rows),
    ]
    return [
        Member(kind=kind, state=state, seed=seed + number, log_loss=0.0)
        for kind, state, count in counts
        if state is None or state in ground.rows
        for number in range(count)
    ]


def _network(ground: Ground, plan: Training, member: Member) -> Learned:
    shape = ground.shape.model_copy(update={"width": plan.width, "dropout": plan.dropout})
    network, curve = fit(shape, ground.lesson, plan.network, member.seed)
    return Learned(member, network, tuple(curve))


def _trees(ground: Ground, plan: Training, member: Member) -> Learned:
    known = ground.lesson.targets.places
    places = np.where(known > 0, known, np.nan).astype(np.float64) if plan.places else None
    trees = fit_boosting(_tree_data(ground.lesson, member), member.seed, plan.boosting, places)
    return Learned(member, trees, trees.curve)


def _top3_trees(ground: Ground, plan: Training, member: Member) -> Learned:
    came = in_first_places(ground.lesson.targets.places)
    trees = fit_chances(_tree_data(ground.lesson, member), came, member.seed, plan.boosting)
    return Learned(member, trees, trees.curve)


def _tree_data(lesson: Lesson, member: Member) -> ChoiceData:
    state = member.state or "observation"
    inputs, usable = lesson.inputs[state], seen_in(lesson, state)
    training, validation = (np.flatnonzero(rows & usable) for rows in (lesson.training, lesson.validating))
    return ChoiceData(tree_entries(inputs), inputs.taken, lesson.targets.winner, training, validation)
