"""Members as one model: pooled, calibrated and judged on the validation events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.predictor.data.events import STATES, Floats, Ints, State
from services.predictor.data.instants import day_of
from services.predictor.data.targets import terciles_of
from services.predictor.evaluation.measures import log_loss, two_way_loss
from services.predictor.evaluation.quality import class_quality, in_first_places, result_quality, top3_quality
from services.predictor.evaluation.stability_index import Bins, bins_of
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.base_rates import class_rates, slot_rates
from services.predictor.learners.boosting.fit import Boosting
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.network.network import Logits, Network
from services.predictor.learners.softmax import softmax
from services.predictor.model.ensemble import (
    TOP3_TREES,
    TREES,
    Description,
    Member,
    Probabilities,
    Trained,
    mean_of,
    tree_scores,
)
from services.predictor.model.pooling import Pooling, fit_mixing, fit_result, fit_scaling, without_trees
from services.predictor.training.dataset import Ground, seen_in
from services.predictor.training.members import Learned

# Events whose features set the bins of drift.
DRIFT_EVENTS = 4000


def pooled_model(
    ground: Ground, members: Sequence[Member], learned: Sequence[Learned], seed: int, tree_share: float
) -> Trained:
    """The members as one model, pooled and judged on the validation events."""
    networks = [found for found, _ in learned if isinstance(found, Network)]
    trees = {
        kind: [found for member, (found, _) in zip(members, learned, strict=True)
               if member.kind == kind and isinstance(found, Boosting)]
        for kind in (TREES, TOP3_TREES)
    }  # fmt: skip
    lesson, events = ground.lesson, ground.events
    told = {
        state: [logits_of(network, lesson.inputs[state][rows]) for network in networks]
        for state, rows in ground.rows.items()
    }
    scores, top3_scores = (
        {state: _scores(ground, members, kind, trees[kind], state) for state in ground.rows} for kind in trees
    )
    pooling = {
        state: _pooling(ground, told[state], scores[state], top3_scores[state], state, tree_share)
        for state in ground.rows
    }
    rates = slot_rates(events.taken[lesson.training], events.place[lesson.training], ground.winner[lesson.training])
    days = events.day[lesson.training]
    description = Description(
        profile=ground.profile.name,
        first_day=str(day_of(int(days.min()))),
        last_day=str(day_of(int(days.max()))),
        validation_first=str(day_of(int(events.day[~lesson.training].min()))),
        validation_last=str(day_of(int(events.day.max()))),
        events=int(lesson.training.sum()),
        seed=seed,
        encoding=ground.encoding,
        shape=networks[0].shape,
        members=tuple(_judged_members(ground, members, told, scores, top3_scores)),
        pooling={state: pooling.get(state) or without_trees(pooling["card"]) for state in STATES},
        terciles=terciles_of(events[lesson.training]),
        win_rate=tuple(rates.wins.tolist()),
        top3_rate=tuple(rates.top3.tolist()),
        drift=_drift(ground),
        metrics={},
    )
    model = Trained("", description, networks, trees[TREES], trees[TOP3_TREES])
    metrics: dict[str, float] = {"validation_events": float(len(ground.rows["card"]))}
    for state, rows in ground.rows.items():
        said = model.pooled(
            lesson.inputs[state][rows], told[state], {state: scores[state]}, {state: top3_scores[state]}
        )
        metrics |= {f"{state}_{name}": value for name, value in _figures(ground, said, rows).items()}
    return replace(model, description=description.model_copy(update={"metrics": metrics}))


def _scores(
    ground: Ground, members: Sequence[Member], kind: str, trees: Sequence[Boosting], state: State
) -> list[Floats]:
    """(n, S) of each of the state's trees of this kind."""
    of_kind = [member for member in members if member.kind == kind]
    inputs = ground.lesson.inputs[state][ground.rows[state]]
    entries = tree_entries(inputs)
    return [
        tree_scores(found, entries, inputs.taken)
        for member, found in zip(of_kind, trees, strict=True)
        if member.state == state
    ]


def _pooling(
    ground: Ground,
    told: Sequence[Logits],
    scores: Sequence[Floats],
    top3_scores: Sequence[Floats],
    state: State,
    tree_share: float,
) -> Pooling:
    rows, targets = ground.rows[state], ground.lesson.targets
    taken, judged = ground.events.taken[rows], targets[rows]
    networks, trees, bias = fit_result(
        mean_of([each.result for each in told]), scores, taken, judged.winner, tree_share
    )
    top3 = mean_of([each.top3 for each in told])[taken]
    top3_trees = np.mean(top3_scores, axis=0)[taken] if top3_scores else None
    came = ((judged.places >= 1) & (judged.places <= 3))[taken].astype(np.int64)
    trend, behaviour = mean_of([each.trend for each in told]), mean_of([each.behaviour for each in told])
    known, started = judged.trend >= 0, judged.behaviour >= 0
    return Pooling(
        networks=networks,
        trees=trees,
        slot_bias=tuple(bias),
        top3=fit_mixing(top3, top3_trees, came),
        trend=fit_scaling(trend[known], judged.trend[known]),
        behaviour=fit_scaling(behaviour[started], judged.behaviour[started]),
    )


def _judged_members(
    ground: Ground, members: Sequence[Member], told: dict[State, list[Logits]], scores: dict[State, list[Floats]],
    top3_scores: dict[State, list[Floats]],
) -> list[Member]:  # fmt: skip
    """Each with its own loss on the validation events, before any calibration."""
    state_of_networks: State = "observation" if "observation" in told else "card"
    networks = iter(told[state_of_networks])
    of_trees = {
        kind: {state: iter(each) for state, each in found.items()}
        for kind, found in ((TREES, scores), (TOP3_TREES, top3_scores))
    }
    judged = []
    for member in members:
        state = member.state or state_of_networks
        rows, taken = ground.rows[state], ground.events.taken[ground.rows[state]]
        if member.kind == TOP3_TREES:
            odds, places = next(of_trees[TOP3_TREES][state])[taken], ground.events.place[rows][taken]
            loss = two_way_loss(1 / (1 + np.exp(-odds)), in_first_places(places))
        else:
            said = next(of_trees[TREES][state]) if member.state else next(networks).result.double().numpy()
            loss = log_loss(softmax(said, taken), ground.winner[rows])
        judged.append(member.model_copy(update={"log_loss": float(loss.mean())}))
    return judged


def _figures(ground: Ground, told: Probabilities, rows: Ints) -> dict[str, float]:
    """All heads against what always telling the training's rates would have got; nothing of what cannot be measured
    (where all come in the first three, no ranking of them is right)."""
    lesson, events = ground.lesson, ground.events[rows]
    targets, before = lesson.targets[rows], lesson.targets[lesson.training]
    rates = slot_rates(ground.events.taken[lesson.training], ground.events.place[lesson.training],
                       ground.winner[lesson.training])  # fmt: skip
    trend = np.broadcast_to(class_rates(before.trend, 3), told.trend.shape)
    behaviour = np.broadcast_to(class_rates(before.behaviour, 3), told.behaviour.shape)
    base = (
        result_quality(rates.probabilities(events.taken), events.taken, targets.winner)
        | top3_quality(rates.top3_probabilities(events.taken), events.taken, events.place)
        | class_quality("trend", trend, targets.trend)
        | class_quality("behaviour", behaviour, targets.behaviour)
    )
    told_figures = (
        result_quality(told.win, events.taken, targets.winner)
        | top3_quality(told.top3, events.taken, events.place)
        | class_quality("trend", told.trend, targets.trend)
        | class_quality("behaviour", told.behaviour, targets.behaviour)
    )
    return {f"{_short(name)}{end}": value for end, figures in (("", told_figures), ("_base", base))
            for name, value in figures.items()
            if np.isfinite(value) and (not end or name.endswith("log_loss"))}  # fmt: skip


def _short(name: str) -> str:
    """log_loss is that of the result; a head's own is called by the head."""
    return "result" if name == "log_loss" else name.removesuffix("_log_loss")


def _drift(ground: Ground) -> dict[str, Bins]:
    """Of what is observed among observed events, of all else among cards; from the newest training events."""
    lesson, encoding = ground.lesson, ground.encoding
    found: dict[str, Bins] = {}
    for state in STATES:
        rows = np.flatnonzero(lesson.training & seen_in(lesson, state))
        inputs = lesson.inputs[state][rows[-DRIFT_EVENTS:]]
        for names, groups, values in (
            (encoding.entry_features, encoding.entry_groups, inputs.entry[inputs.taken]),
            (encoding.event_features, encoding.event_groups, inputs.event),
        ):
            for column, (name, group) in enumerate(zip(names, groups, strict=True)):
                if (group == "observation") == (state == "observation") and len(values):
                    found[name] = bins_of(values[:, column])
    return found
