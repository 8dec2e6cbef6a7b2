"""Assembles the members into one model: pools, calibrates and evaluates them on the validation events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from services.predictor.data.events import STATES, Events, State
from services.predictor.data.instants import day_of
from services.predictor.data.targets import Targets, terciles_of
from services.predictor.evaluation.comparison import Forecast, figures_of
from services.predictor.evaluation.measures import binary_log_loss, log_loss
from services.predictor.evaluation.quality import in_first_places
from services.predictor.evaluation.stability_index import Bins, fit_bins
from services.predictor.features.inputs import tree_entries
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.network.network import Network
from services.predictor.learners.softmax import softmax
from services.predictor.model.ensemble import (
    TOP3_TREES,
    TREES,
    Ensemble,
    EnsembleDescription,
    Member,
    MemberOutput,
    logits_in,
    mean_of,
    scores_in,
    tree_scores,
)
from services.predictor.model.pooling import Pooling, fit_mixing, fit_result, fit_scaling, without_trees
from services.predictor.training.dataset import TrainingSet, known_in_state
from services.predictor.training.members import FittedMember

# Number of the newest training events whose features set the drift bins.
DRIFT_EVENTS = 4000

HEADS = ("result", "top3", "trend", "behaviour")
Outputs = Mapping[State, Sequence[MemberOutput]]
"""By state: outputs for its validation events of the members that predict in it, in the order of the members."""


def assemble_ensemble(dataset: TrainingSet, members: Sequence[FittedMember], seed: int, tree_share: float) -> Ensemble:
    """The members as one model, pooled and evaluated on the validation events."""
    outputs = {state: _outputs(dataset, members, state) for state in dataset.rows}
    fitted = {state: _pooling(dataset, outputs[state], state, tree_share) for state in dataset.rows}
    pooling = {state: fitted.get(state) or without_trees(fitted["card"]) for state in STATES}
    description = _description(dataset, members, outputs, pooling, seed)
    model = Ensemble("", description, [each.model for each in members])
    metrics = {"validation_events": float(len(dataset.rows["card"]))}
    for state in dataset.rows:
        metrics |= {f"{state}_{name}": value for name, value in _metrics(dataset, model, outputs[state], state).items()}
    return replace(model, description=description.model_copy(update={"metrics": metrics}))


def _outputs(dataset: TrainingSet, members: Sequence[FittedMember], state: State) -> list[MemberOutput]:
    inputs = dataset.examples.inputs[state][dataset.rows[state]]
    entries = tree_entries(inputs)
    return [
        MemberOutput(
            member,
            logits_of(model, inputs) if isinstance(model, Network) else tree_scores(model, entries, inputs.occupied),
        )
        for member, model, _ in members
        if member.state in {state, None}
    ]


def _description(
    dataset: TrainingSet, members: Sequence[FittedMember], outputs: Outputs, pooling: dict[State, Pooling], seed: int
) -> EnsembleDescription:
    """Without metrics."""
    training = dataset.examples.training
    events, days = dataset.events[training], dataset.events.day
    return EnsembleDescription(
        profile=dataset.profile.name,
        first_day=str(day_of(int(days[training].min()))),
        last_day=str(day_of(int(days[training].max()))),
        validation_first=str(day_of(int(days[~training].min()))),
        validation_last=str(day_of(int(days.max()))),
        events=len(events),
        seed=seed,
        encoding=dataset.encoding,
        shape=next(each.model.shape for each in members if isinstance(each.model, Network)),
        members=tuple(_with_log_loss(dataset, each.member, outputs) for each in members),
        pooling=pooling,
        terciles=terciles_of(events),
        win_rate=tuple(dataset.rates.slots.wins.tolist()),
        top3_rate=tuple(dataset.rates.slots.top3.tolist()),
        drift=_drift_bins(dataset),
        metrics={},
    )


def _with_log_loss(dataset: TrainingSet, member: Member, outputs: Outputs) -> Member:
    """The member with its own loss on the validation events, before calibration; a network's is that of observed events
    if there are any."""
    state = member.state or ("observation" if "observation" in outputs else "card")
    scores = next(each.scores for each in outputs[state] if each.member == member)
    events = dataset.events[dataset.rows[state]]
    if member.kind == TOP3_TREES:
        odds = np.asarray(scores)[events.occupied]
        loss = binary_log_loss(1 / (1 + np.exp(-odds)), in_first_places(events.place[events.occupied]))
    else:
        result = scores if isinstance(scores, np.ndarray) else scores.result.double().numpy()
        loss = log_loss(softmax(result, events.occupied), dataset.winner[dataset.rows[state]])
    return member.model_copy(update={"log_loss": float(loss.mean())})


def _pooling(dataset: TrainingSet, outputs: Sequence[MemberOutput], state: State, tree_share: float) -> Pooling:
    rows = dataset.rows[state]
    occupied, targets, logits = dataset.events.occupied[rows], dataset.examples.targets[rows], logits_in(outputs)
    networks, trees, bias = fit_result(
        mean_of([each.result for each in logits]),
        scores_in(outputs, TREES, state),
        occupied,
        targets.winner,
        tree_share,
    )
    top3, top3_scores = mean_of([each.top3 for each in logits])[occupied], scores_in(outputs, TOP3_TREES, state)
    top3_trees = np.mean(top3_scores, axis=0)[occupied] if top3_scores else None
    outcomes = in_first_places(targets.places)[occupied].astype(np.int64)
    trend, behaviour = mean_of([each.trend for each in logits]), mean_of([each.behaviour for each in logits])
    known, started = targets.trend >= 0, targets.behaviour >= 0
    return Pooling(
        networks=networks,
        trees=trees,
        slot_bias=tuple(bias),
        top3=fit_mixing(top3, top3_trees, outcomes),
        trend=fit_scaling(trend[known], targets.trend[known]),
        behaviour=fit_scaling(behaviour[started], targets.behaviour[started]),
    )


def _metrics(dataset: TrainingSet, model: Ensemble, outputs: Sequence[MemberOutput], state: State) -> dict[str, float]:
    """Metrics of all heads, and with suffix `_base` the losses of the constant base rates of training. Metrics that
    cannot be computed are left out: if all entries come in the first three, no ranking of them can be right."""
    rows = dataset.rows[state]
    events, targets = dataset.events[rows], dataset.examples.targets[rows]
    predictions = model.pool(dataset.examples.inputs[state][rows], outputs)
    metrics = _quality(
        Forecast(predictions.win, predictions.top3, predictions.trend, predictions.behaviour), events, targets
    )
    base = _quality(dataset.rates.forecast(events.occupied), events, targets)
    metrics |= {f"{name}_base": value for name, value in base.items() if name in HEADS}
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _quality(forecast: Forecast, events: Events, targets: Targets) -> dict[str, float]:
    """The log-loss of a head is named like the head."""
    metrics = figures_of(forecast, events, targets)
    return {"result" if name == "log_loss" else name.removesuffix("_log_loss"): metrics[name] for name in metrics}


def _drift_bins(dataset: TrainingSet) -> dict[str, Bins]:
    """Bins of observation features over observed events, of all other features over cards; from the newest training
    events."""
    examples, encoding = dataset.examples, dataset.encoding
    bins: dict[str, Bins] = {}
    for state in STATES:
        rows = np.flatnonzero(examples.training & known_in_state(examples, state))
        inputs = examples.inputs[state][rows[-DRIFT_EVENTS:]]
        for names, groups, values in (
            (encoding.entry_features, encoding.entry_groups, inputs.entry[inputs.occupied]),
            (encoding.event_features, encoding.event_groups, inputs.event),
        ):
            for column, (name, group) in enumerate(zip(names, groups, strict=True)):
                if (group == "observation") == (state == "observation") and len(values):
                    bins[name] = fit_bins(values[:, column])
    return bins
