"""Assembles the members into one model: pools, calibrates and evaluates them on the validation events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from services.predictor.data.events import STATES, Events, State
from services.predictor.data.instants import day_of
from services.predictor.data.targets import Targets, terciles_of
from services.predictor.evaluation.comparison import Opinion, figures_of
from services.predictor.evaluation.measures import log_loss, two_way_loss
from services.predictor.evaluation.quality import in_first_places
from services.predictor.evaluation.stability_index import Bins, bins_of
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.network.network import Network
from services.predictor.learners.softmax import softmax
from services.predictor.model.ensemble import (
    TOP3_TREES,
    TREES,
    Description,
    Member,
    MemberOutput,
    Trained,
    logits_in,
    mean_of,
    scores_in,
    tree_scores,
)
from services.predictor.model.pooling import Pooling, fit_mixing, fit_result, fit_scaling, without_trees
from services.predictor.training.dataset import Ground, seen_in
from services.predictor.training.members import Learned

# Number of the newest training events whose features set the drift bins.
DRIFT_EVENTS = 4000

HEADS = ("result", "top3", "trend", "behaviour")
Outputs = Mapping[State, Sequence[MemberOutput]]
"""By state: outputs for its validation events of the members that predict in it, in the order of the members."""


def pooled_model(ground: Ground, learned: Sequence[Learned], seed: int, tree_share: float) -> Trained:
    """The members as one model, pooled and evaluated on the validation events."""
    outputs = {state: _outputs(ground, learned, state) for state in ground.rows}
    fitted = {state: _pooling(ground, outputs[state], state, tree_share) for state in ground.rows}
    pooling = {state: fitted.get(state) or without_trees(fitted["card"]) for state in STATES}
    description = _description(ground, learned, outputs, pooling, seed)
    model = Trained("", description, [each.model for each in learned])
    metrics = {"validation_events": float(len(ground.rows["card"]))}
    for state in ground.rows:
        metrics |= {f"{state}_{name}": value for name, value in _figures(ground, model, outputs[state], state).items()}
    return replace(model, description=description.model_copy(update={"metrics": metrics}))


def _outputs(ground: Ground, learned: Sequence[Learned], state: State) -> list[MemberOutput]:
    inputs = ground.lesson.inputs[state][ground.rows[state]]
    entries = tree_entries(inputs)
    return [
        MemberOutput(
            member,
            logits_of(model, inputs) if isinstance(model, Network) else tree_scores(model, entries, inputs.taken),
        )
        for member, model, _ in learned
        if member.state in {state, None}
    ]


def _description(
    ground: Ground, learned: Sequence[Learned], outputs: Outputs, pooling: dict[State, Pooling], seed: int
) -> Description:
    """Without metrics."""
    training = ground.lesson.training
    events, days = ground.events[training], ground.events.day
    return Description(
        profile=ground.profile.name,
        first_day=str(day_of(int(days[training].min()))),
        last_day=str(day_of(int(days[training].max()))),
        validation_first=str(day_of(int(days[~training].min()))),
        validation_last=str(day_of(int(days.max()))),
        events=len(events),
        seed=seed,
        encoding=ground.encoding,
        shape=next(each.model.shape for each in learned if isinstance(each.model, Network)),
        members=tuple(_judged(ground, each.member, outputs) for each in learned),
        pooling=pooling,
        terciles=terciles_of(events),
        win_rate=tuple(ground.rates.slots.wins.tolist()),
        top3_rate=tuple(ground.rates.slots.top3.tolist()),
        drift=_drift(ground),
        metrics={},
    )


def _judged(ground: Ground, member: Member, outputs: Outputs) -> Member:
    """The member with its own loss on the validation events, before calibration; a network's is that of observed events
    if there are any."""
    state = member.state or ("observation" if "observation" in outputs else "card")
    scores = next(each.scores for each in outputs[state] if each.member == member)
    events = ground.events[ground.rows[state]]
    if member.kind == TOP3_TREES:
        odds = np.asarray(scores)[events.taken]
        loss = two_way_loss(1 / (1 + np.exp(-odds)), in_first_places(events.place[events.taken]))
    else:
        result = scores if isinstance(scores, np.ndarray) else scores.result.double().numpy()
        loss = log_loss(softmax(result, events.taken), ground.winner[ground.rows[state]])
    return member.model_copy(update={"log_loss": float(loss.mean())})


def _pooling(ground: Ground, outputs: Sequence[MemberOutput], state: State, tree_share: float) -> Pooling:
    rows = ground.rows[state]
    taken, judged, logits = ground.events.taken[rows], ground.lesson.targets[rows], logits_in(outputs)
    networks, trees, bias = fit_result(
        mean_of([each.result for each in logits]), scores_in(outputs, TREES, state), taken, judged.winner, tree_share
    )
    top3, top3_scores = mean_of([each.top3 for each in logits])[taken], scores_in(outputs, TOP3_TREES, state)
    top3_trees = np.mean(top3_scores, axis=0)[taken] if top3_scores else None
    came = in_first_places(judged.places)[taken].astype(np.int64)
    trend, behaviour = mean_of([each.trend for each in logits]), mean_of([each.behaviour for each in logits])
    known, started = judged.trend >= 0, judged.behaviour >= 0
    return Pooling(
        networks=networks,
        trees=trees,
        slot_bias=tuple(bias),
        top3=fit_mixing(top3, top3_trees, came),
        trend=fit_scaling(trend[known], judged.trend[known]),
        behaviour=fit_scaling(behaviour[started], judged.behaviour[started]),
    )


def _figures(ground: Ground, model: Trained, outputs: Sequence[MemberOutput], state: State) -> dict[str, float]:
    """Metrics of all heads, and with suffix `_base` the losses of the constant base rates of training. Metrics that
    cannot be computed are left out: if all entries come in the first three, no ranking of them can be right."""
    rows = ground.rows[state]
    events, targets = ground.events[rows], ground.lesson.targets[rows]
    told = model.pooled(ground.lesson.inputs[state][rows], outputs)
    figures = _quality(Opinion(told.win, told.top3, told.trend, told.behaviour), events, targets)
    base = _quality(ground.rates.opinion(events.taken), events, targets)
    figures |= {f"{name}_base": value for name, value in base.items() if name in HEADS}
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _quality(told: Opinion, events: Events, targets: Targets) -> dict[str, float]:
    """The log-loss of a head is named like the head."""
    found = figures_of(told, events, targets)
    return {"result" if name == "log_loss" else name.removesuffix("_log_loss"): found[name] for name in found}


def _drift(ground: Ground) -> dict[str, Bins]:
    """Bins of observation features over observed events, of all other features over cards; from the newest training
    events."""
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
