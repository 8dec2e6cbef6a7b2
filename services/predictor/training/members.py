"""Fits the members of a model as independent jobs: linear terms first, then networks and trees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints, State
from services.predictor.evaluation.quality import in_first_places
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.boosting.fit import Boosting, fit_binary, fit_boosting
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.conditional_logit import Logit, fit_logit
from services.predictor.learners.network.fit import Examples, fit
from services.predictor.learners.network.network import LinearInit, Network
from services.predictor.learners.serial import Executor
from services.predictor.model.ensemble import NETWORK, TOP3_TREES, TREES, Member, MemberKind
from services.predictor.training.dataset import TrainingSet, known_in_state
from services.predictor.training.hyperparameters import EnsembleConfig

LINEAR_PENALTIES = (30.0, 300.0, 1000.0, 3000.0)


class FittedMember(NamedTuple):
    """A fitted member. `curve`: its validation loss after each epoch or tree."""

    member: Member
    model: Network | Boosting
    curve: tuple[float, ...]


FitJob = Callable[[], FittedMember]


def fit_linear_terms(dataset: TrainingSet, config: EnsembleConfig, executor: Executor) -> LinearInit:
    """One conditional logit per state; without observations, the card's is used for both states."""
    states = list(dataset.rows)
    logits = executor([partial(_fit_state_logit, dataset, state, config.places) for state in states])
    coefficients: dict[State, tuple[Floats, Floats]] = {}
    for state, logit in zip(states, logits, strict=True):
        width = len(logit.columns)
        coefficients[state] = logit.weights[:width], logit.weights[width:]
    card = coefficients["card"]
    return LinearInit(*card, *coefficients.get("observation", card), dataset.examples.linear_init.top3_rate)


def _fit_state_logit(dataset: TrainingSet, state: State, places: bool) -> Logit:
    """`places`: also fit to second and third places, each among the entries without a better place."""
    examples, validation_rows = dataset.examples, dataset.rows[state]
    inputs, rows = examples.inputs[state], np.flatnonzero(examples.training & known_in_state(examples, state))
    entry, occupied, winner = inputs.entry, inputs.occupied, dataset.winner
    if places:
        rounds = [_contenders(examples.targets.places, occupied, place) for place in (2, 3)]
        occupied = np.concatenate([occupied, *(left for left, _ in rounds)])
        winner = np.concatenate([winner, *(first for _, first in rounds)])
        entry = np.concatenate([entry] * (1 + len(rounds)))
        rows = np.concatenate([rows + len(inputs) * turn for turn in range(1 + len(rounds))])
    return fit_logit(
        ChoiceData(entry, occupied, winner, rows, validation_rows), np.arange(entry.shape[2]), LINEAR_PENALTIES
    )


def _contenders(places: Ints, occupied: Bools, place: int) -> tuple[Bools, Ints]:
    """(n, S), (n,): entries without a better place, and the slot in this place; -1 if this or a better place was not
    taken by exactly one entry."""
    at_place = places == place
    sole = (at_place.sum(axis=1) == 1) & np.all([(places == each).sum(axis=1) == 1 for each in range(1, place)], axis=0)
    return occupied & ~((places >= 1) & (places < place)), np.where(sole, at_place.argmax(axis=1), -1)


def fit_jobs(dataset: TrainingSet, config: EnsembleConfig, seed: int) -> list[FitJob]:
    """The fit of each member, in the order of the model's members."""
    fits: dict[str, Callable[[TrainingSet, EnsembleConfig, Member], FittedMember]] = {
        NETWORK: _fit_network,
        TREES: _fit_trees,
        TOP3_TREES: _fit_top3_trees,
    }
    return [partial(fits[member.kind], dataset, config, member) for member in members_of(dataset, config, seed)]


def members_of(dataset: TrainingSet, config: EnsembleConfig, seed: int) -> list[Member]:
    """Networks predict in both states, each tree member in one of the states with training events."""
    counts: list[tuple[MemberKind, State | None, int]] = [
        ("network", None, config.networks),
        ("trees", "observation", config.observation_trees),
        ("trees", "card", config.card_trees),
        *(("top3_trees", state, config.top3_trees) for state in dataset.rows),
    ]
    return [
        Member(kind=kind, state=state, seed=seed + number, log_loss=0.0)
        for kind, state, count in counts
        if state is None or state in dataset.rows
        for number in range(count)
    ]


def _fit_network(dataset: TrainingSet, config: EnsembleConfig, member: Member) -> FittedMember:
    shape = dataset.shape.model_copy(update={"width": config.width, "dropout": config.dropout})
    network, curve = fit(shape, dataset.examples, config.network, member.seed)
    return FittedMember(member, network, tuple(curve))


def _fit_trees(dataset: TrainingSet, config: EnsembleConfig, member: Member) -> FittedMember:
    final_places = dataset.examples.targets.places
    places = np.where(final_places > 0, final_places, np.nan).astype(np.float64) if config.places else None
    trees = fit_boosting(_tree_data(dataset.examples, member), member.seed, config.boosting, places)
    return FittedMember(member, trees, trees.curve)


def _fit_top3_trees(dataset: TrainingSet, config: EnsembleConfig, member: Member) -> FittedMember:
    outcomes = in_first_places(dataset.examples.targets.places)
    trees = fit_binary(_tree_data(dataset.examples, member), outcomes, member.seed, config.boosting)
    return FittedMember(member, trees, trees.curve)


def _tree_data(examples: Examples, member: Member) -> ChoiceData:
    state = member.state or "observation"
    inputs, usable = examples.inputs[state], known_in_state(examples, state)
    training, validation = (np.flatnonzero(rows & usable) for rows in (examples.training, examples.validation))
    return ChoiceData(tree_entries(inputs), inputs.occupied, examples.targets.winner, training, validation)
