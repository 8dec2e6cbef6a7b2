"""Settled history -> a trained model. No files, no clock; the same events, split and seed give the same weights.

The newest days are kept for validation, never a random choice: a model is asked about days it has not seen. They stop
the training of each member and fit the pooling; no weight of a member has learned from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import NamedTuple

import numpy as np

from services.predictor.facts import STATES, Bools, Events, Floats, Ints, State
from services.predictor.features.encoding import Encoding, encoding_of
from services.predictor.features.history import History
from services.predictor.features.inputs import encoded
from services.predictor.features.names import names_of
from services.predictor.features.values import values_of
from services.predictor.judge.drift import Bins, bins_of
from services.predictor.judge.measures import log_loss, two_way_loss
from services.predictor.judge.quality import class_quality, in_first_places, result_quality, top3_quality
from services.predictor.network.fit import Lesson, fit
from services.predictor.network.network import Lines, Logits, Network, Shape
from services.predictor.network.running import logits_of
from services.predictor.plan import Training, training_for
from services.predictor.policy.agent import Policy, train_policy
from services.predictor.policy.crossfit import cross_fitted, folds_of
from services.predictor.policy.environment import episodes_of
from services.predictor.policy.learning import Progress
from services.predictor.policy.watching import watching
from services.predictor.pooling import Pooling, fit_mixing, fit_result, fit_scaling, without_trees
from services.predictor.profile import Profile
from services.predictor.references.base import class_rates, slot_rates
from services.predictor.references.boosting import Boosting, fit_boosting, fit_chances
from services.predictor.references.logit import Logit, fit_logit
from services.predictor.references.softmax import softmax
from services.predictor.targets import targets_of, terciles_of
from services.predictor.trained import (
    TOP3_TREES,
    TREES,
    Description,
    Member,
    Probabilities,
    Trained,
    mean_of,
    tree_entries,
    tree_scores,
)
from shared.errors import ConfigError

# Fewer events than this say nothing: their validation part would be a handful.
LEAST_EVENTS = 100
VALIDATION_SHARE = 0.15
EPOCH = date(1970, 1, 1)
# Events whose features set the bins of drift.
DRIFT_EVENTS = 4000
LINE_PENALTIES = (30.0, 300.0, 1000.0, 3000.0)

Learned = tuple[Network | Boosting | Logit, tuple[float, ...]]
"""What a job learned and its curve: the validation loss after each epoch or tree."""
Job = Callable[[], Learned]
Run = Callable[[Sequence[Job], Callable[[int], None]], list[Learned]]
"""Does independent jobs, says each time how many are done, and gives their results in the order of the jobs."""


class Split(NamedTuple):
    """Days (inclusive): trained up to `train_to`, validated after it up to `validate_to`."""

    train_to: date
    validate_to: date


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


def one_by_one(jobs: Sequence[Job], done: Callable[[int], None]) -> list[Learned]:
    found = []
    for count, job in enumerate(jobs, start=1):
        found.append(job())
        done(count)
    return found


def split_of(events: Events, validate_days: int | None = None) -> Split:
    """The newest days validate: so many, or a share of all. Raises ConfigError where there is only one day."""
    days = np.unique(events.day[events.status == "settled"])
    if len(days) < 2:
        raise ConfigError(f"training needs settled events of at least two days, found {len(days)}")
    kept = max(1, round(len(days) * VALIDATION_SHARE)) if validate_days is None else validate_days
    if kept >= len(days):
        raise ConfigError(f"{kept} days to validate on leave none of {len(days)} to train on: take fewer")
    return Split(day_of(int(days[-1 - kept])), day_of(int(days[-1])))


def day_of(number: int) -> date:
    return EPOCH + timedelta(days=number)


def number_of(day: date) -> int:
    return (day - EPOCH).days


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
    ground = _ground(events, profile, split, without)
    count = int(ground.lesson.training.sum())
    plan = training or training_for(count)
    log(f"{count} events to learn from, {int(ground.lesson.validating.sum())} to validate on; features are made")
    progress(0.1)
    lesson = replace(ground.lesson, lines=_lines(ground, run))
    progress(0.2)
    jobs, members = _jobs(ground, lesson, plan, seed)
    learned = run(jobs, lambda done: progress(0.2 + 0.6 * done / len(jobs)))
    made = _pooled(ground, members, learned, seed)
    progress(0.85)
    log(_line(made.description.metrics))
    made, policy_curves = _with_policy(ground, made, plan, seed)
    validation = {
        state: Validated(
            ground.events[rows], made.probabilities(ground.lesson.inputs[state][rows]), ground.winner[rows]
        )
        for state, rows in ground.rows.items()
    }
    progress(1.0)
    curves = {_label(member): curve for member, (_, curve) in zip(made.description.members, learned, strict=True)}
    return Made(made, curves, policy_curves, validation)


@dataclass(frozen=True)
class _Ground:
    """What training stands on. `rows`: of each state, the validation events that can be judged."""

    events: Events
    encoding: Encoding
    lesson: Lesson
    shape: Shape
    rows: dict[State, Ints]
    profile: Profile

    @property
    def winner(self) -> Ints:
        return self.lesson.targets.winner


def _ground(events: Events, profile: Profile, split: Split, without: Sequence[str]) -> _Ground:
    events = events[(events.day <= number_of(split.validate_to)) & (events.status == "settled")]
    events = events[np.isfinite(events.listed_us) & (events.taken.sum(axis=1) >= 2)]
    training = events.day <= number_of(split.train_to)
    taught, kept = int((training & events.has_winner).sum()), int((~training & events.has_winner).sum())
    if taught < LEAST_EVENTS or not kept:
        raise ConfigError(
            f"training needs at least {LEAST_EVENTS} settled events with their cards and a winner up to"
            f" {split.train_to} and some to validate on up to {split.validate_to}, found {taught} and {kept}"
        )
    history = History(profile)
    history.fold(events)
    names = names_of(events[training], profile)
    values = {state: values_of(events, history, names, state) for state in STATES}
    encoding = encoding_of(names, values["observation"], training)
    inputs = {state: encoded(found, encoding) for state, found in values.items()}
    for group in without:
        inputs = {state: found.without(encoding, group) for state, found in inputs.items()}
    targets = targets_of(events, terciles_of(events[training]))
    observed = values["observation"].observed
    judged = ~training & (targets.winner >= 0)
    rates = slot_rates(events.taken[training], events.place[training], targets.winner[training])
    nothing = np.zeros(0)
    lesson = Lesson(inputs, observed, targets, training, judged, Lines(nothing, nothing, nothing, nothing, rates.top3))
    shape = Shape(
        slots=events.slots,
        entry_features=inputs["card"].entry.shape[2],
        event_features=inputs["card"].event.shape[1],
        venues=len(names.venues),
        start_values=inputs["card"].starts.shape[3],
    )
    states = [state for state in STATES if _is_taught(lesson, state)]
    rows = {state: np.flatnonzero(judged & _usable(lesson, state)) for state in states}
    return _Ground(events, encoding, lesson, shape, rows, profile)


def _usable(lesson: Lesson, state: State) -> Bools:
    """(n,): the events that can be seen in this state."""
    return lesson.observed if state == "observation" else np.ones(len(lesson.observed), dtype=np.bool_)


def _is_taught(lesson: Lesson, state: State) -> bool:
    """A source may know no observations, or only of late: then there is nothing of its own to say in that state."""
    usable = _usable(lesson, state)
    taught = lesson.training & usable & (lesson.targets.winner >= 0)
    return bool(taught.sum() >= LEAST_EVENTS and (lesson.validating & usable).any())


def _lines(ground: _Ground, run: Run) -> Lines:
    """A conditional logit a state; where nothing was observed, the card's speaks for both."""
    states = list(ground.rows)
    learned = run([partial(_line_of, ground, state) for state in states], lambda _: None)
    found: dict[State, tuple[Floats, Floats]] = {}
    for state, (logit, _) in zip(states, learned, strict=True):
        assert isinstance(logit, Logit)  # noqa: S101  # that is what these jobs give
        width = len(logit.columns)
        found[state] = logit.weights[:width], logit.weights[width:]
    card = found["card"]
    return Lines(*card, *found.get("observation", card), ground.lesson.lines.top3_rate)


def _line_of(ground: _Ground, state: State) -> Learned:
    lesson, judged = ground.lesson, ground.rows[state]
    inputs, rows = lesson.inputs[state], np.flatnonzero(lesson.training & _usable(lesson, state))
    columns = np.arange(inputs.entry.shape[2])
    return fit_logit(inputs.entry, inputs.taken, ground.winner, columns, rows, judged, LINE_PENALTIES), ()


def _jobs(ground: _Ground, lesson: Lesson, plan: Training, seed: int) -> tuple[list[Job], list[Member]]:
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
    inputs, usable = lesson.inputs[state], _usable(lesson, state)
    places = np.where(lesson.targets.places > 0, lesson.targets.places, np.nan).astype(np.float64)
    trees = fit_boosting(
        tree_entries(inputs), inputs.taken, lesson.targets.winner, np.flatnonzero(lesson.training & usable),
        np.flatnonzero(lesson.validating & usable), seed, plan.boosting, places=places if plan.places else None,
    )  # fmt: skip
    return trees, trees.curve


def _top3_trees(lesson: Lesson, plan: Training, state: State, seed: int) -> Learned:
    inputs, usable, places = lesson.inputs[state], _usable(lesson, state), lesson.targets.places
    trees = fit_chances(
        tree_entries(inputs), inputs.taken, (places >= 1) & (places <= 3),
        np.flatnonzero(lesson.training & usable), np.flatnonzero(lesson.validating & usable), seed, plan.boosting,
    )  # fmt: skip
    return trees, trees.curve


def _pooled(ground: _Ground, members: Sequence[Member], learned: Sequence[Learned], seed: int) -> Trained:
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
    pooling = {state: _pooling(ground, told[state], scores[state], top3_scores[state], state) for state in ground.rows}
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
    ground: _Ground, members: Sequence[Member], kind: str, trees: Sequence[Boosting], state: State
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
    ground: _Ground, told: Sequence[Logits], scores: Sequence[Floats], top3_scores: Sequence[Floats], state: State
) -> Pooling:
    rows, targets = ground.rows[state], ground.lesson.targets
    taken, judged = ground.events.taken[rows], targets[rows]
    networks, trees, bias = fit_result(mean_of([each.result for each in told]), scores, taken, judged.winner)
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
    ground: _Ground, members: Sequence[Member], told: dict[State, list[Logits]], scores: dict[State, list[Floats]],
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


def _figures(ground: _Ground, told: Probabilities, rows: Ints) -> dict[str, float]:
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


def _drift(ground: _Ground) -> dict[str, Bins]:
    """Of what is observed among observed events, of all else among cards; from the newest training events."""
    lesson, encoding = ground.lesson, ground.encoding
    found: dict[str, Bins] = {}
    for state in STATES:
        rows = np.flatnonzero(lesson.training & _usable(lesson, state))
        inputs = lesson.inputs[state][rows[-DRIFT_EVENTS:]]
        for names, groups, values in (
            (encoding.entry_features, encoding.entry_groups, inputs.entry[inputs.taken]),
            (encoding.event_features, encoding.event_groups, inputs.event),
        ):
            for column, (name, group) in enumerate(zip(names, groups, strict=True)):
                if (group == "observation") == (state == "observation") and len(values):
                    found[name] = bins_of(values[:, column])
    return found


def _with_policy(ground: _Ground, model: Trained, plan: Training, seed: int) -> tuple[Trained, list[list[Progress]]]:
    """With a policy that learned from the training events, as they were observed.

    It must not take the model's certainty about its own training events at face value: their chances to win come from
    trees that were fitted without them. None where no event says what its winner paid.
    """
    if plan.policy is None or not np.isfinite(ground.events.win_amount).any():
        return model, []
    lesson = ground.lesson
    rows, judged = np.flatnonzero(lesson.training), ground.rows.get("observation", ground.rows["card"])
    told = replace(model.probabilities(lesson.inputs["observation"][rows]), win=_left_out(ground, plan, rows, seed))
    scene = model.scene(lesson.inputs["observation"][rows], told)
    seen = lesson.inputs["observation"][judged]
    watch = watching(model.scene(seen), episodes_of(ground.events[judged], "observation"))
    learning = plan.policy.model_copy(update={"seed": seed})
    episodes = episodes_of(ground.events[rows], "observation")
    policy, curves = train_policy(scene, episodes, learning, plan.policy_members, watch)
    return with_policy(model, policy), curves


def _left_out(ground: _Ground, plan: Training, rows: Ints, seed: int) -> Floats:
    """(rows, S): chances to win, each told by trees that did not learn from its days."""
    inputs, winner = ground.lesson.inputs["observation"], ground.winner
    entries, judged = tree_entries(inputs), np.flatnonzero(ground.lesson.validating)

    def tell(learned: Ints, asked: Ints) -> Floats:
        trees = fit_boosting(entries, inputs.taken, winner, rows[learned], judged, seed, plan.boosting)
        return trees.probabilities(entries[rows[asked]], inputs.taken[rows[asked]])

    return cross_fitted(folds_of(ground.events.day[rows]), tell)


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
