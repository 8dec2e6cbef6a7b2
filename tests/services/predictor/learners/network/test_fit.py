"""The training loop: what it learns, what it learns from, and what it keeps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from services.predictor.data.events import Ints
from services.predictor.data.targets import Targets
from services.predictor.learners.network.fit import Examples, OptimizerConfig, fit
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.network.loss import loss_of
from services.predictor.learners.network.network import Network
from tests.services.predictor.learners.network.made import lesson, lines, network, shape

pytestmark = pytest.mark.slow
SLOTS = 4
QUICK = OptimizerConfig(epochs=2, batch=64, learning_rate=5e-3, average=0.8)


@cache
def learned(seed: int = 1) -> tuple[Network, tuple[float, ...]]:
    made, curve = fit(shape(SLOTS), lesson(), QUICK, seed)
    return made, tuple(curve)


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def loss_on(by: Network, taught: Examples, rows: Ints) -> float:
    inputs, targets = taught.inputs["observation"][rows], taught.targets[rows]
    parts = (torch.from_numpy(each) for each in (targets.places, targets.trend, targets.behaviour, inputs.occupied))
    return float(loss_of(logits_of(by, inputs), *parts))


def test_it_learns_what_no_straight_line_says() -> None:
    count = 1500
    taught = lesson(count, training=np.arange(count) < 1000)
    by, curve = fit(shape(SLOTS), taught, OptimizerConfig(epochs=7, batch=64, learning_rate=6e-3, average=0.9), 1)
    unseen = np.arange(1000, 1250)
    targets, told = taught.targets[unseen], logits_of(by, taught.inputs["observation"][unseen])
    found = torch.nn.functional.cross_entropy(told.result, torch.from_numpy(targets.winner))
    entry = taught.inputs["observation"].entry[unseen]
    line = torch.tensor(np.where(taught.inputs["observation"].occupied[unseen], 1.5 * entry[..., 0], -1e9))
    straight = torch.nn.functional.cross_entropy(line, torch.from_numpy(targets.winner))

    assert float(found) < float(straight) - 0.05
    assert curve[-1] < curve[0]
    assert float((told.trend.argmax(1) == torch.from_numpy(targets.trend)).double().mean()) > 0.8
    known = torch.from_numpy(targets.behaviour >= 0)
    right = told.behaviour.argmax(2) == torch.from_numpy(targets.behaviour)
    assert float(right[known].double().mean()) > 0.8


def test_the_same_seed_gives_the_same_bits_and_another_others() -> None:
    torch.manual_seed(99)  # whatever was drawn before
    again, curve = fit(shape(SLOTS), lesson(), QUICK, 1)

    assert same(again, learned()[0])
    assert tuple(curve) == learned()[1]
    assert not same(learned(2)[0], again)


def test_only_training_events_teach() -> None:
    """With one epoch there is no choice of one: other results and other inputs of the rest change no weight."""
    once, taught = replace(QUICK, epochs=1), lesson()
    before, curve = fit(shape(SLOTS), taught, once, 1)
    rest, rng = ~taught.training, np.random.default_rng(8)
    places, trend, behaviour = (
        each.copy() for each in (taught.targets.places, taught.targets.trend, taught.targets.behaviour)
    )
    places[rest] = np.roll(places[rest], 1, axis=1)
    trend[rest], behaviour[rest] = 2 - trend[rest], -1
    others = {state: replace(found, entry=found.entry.copy()) for state, found in taught.inputs.items()}
    for found in others.values():
        found.entry[rest] += rng.standard_normal(found.entry[rest].shape).astype(np.float32)
    other = replace(taught, inputs=others, targets=Targets(places, trend, behaviour, taught.targets.winner))

    after, other_curve = fit(shape(SLOTS), other, once, 1)

    assert same(before, after)
    assert curve != other_curve


def test_training_events_do_teach() -> None:
    taught = lesson()
    one = np.flatnonzero(taught.training)[0]
    places = taught.targets.places.copy()
    places[one] = np.roll(places[one], 1)
    other = replace(taught, targets=replace(taught.targets, places=places))

    assert not same(fit(shape(SLOTS), other, QUICK, 1)[0], learned()[0])


def test_the_epoch_that_validated_best_is_kept_and_training_ends_soon_after() -> None:
    """A rate far too high: it gets worse after the first steps."""
    taught = lesson()
    wild = OptimizerConfig(epochs=30, batch=32, learning_rate=0.05, average=0.5, patience=2)

    by, curve = fit(shape(SLOTS), taught, wild, 1)

    best = int(np.argmin(curve))
    assert len(curve) == best + 1 + wild.patience < wild.epochs
    assert loss_on(by, taught, np.flatnonzero(taught.validation & taught.observed)) == curve[best] < curve[-1]


def test_an_event_that_was_not_observed_is_only_ever_seen_as_its_card() -> None:
    taught = lesson()
    hidden = replace(taught.inputs["observation"], entry=taught.inputs["observation"].entry.copy())
    hidden.entry[~taught.observed] = np.nan

    by, curve = fit(shape(SLOTS), replace(taught, inputs=taught.inputs | {"observation": hidden}), QUICK, 1)

    assert same(by, learned()[0])
    assert np.isfinite(curve).all()


def test_events_are_shown_in_both_states() -> None:
    taught = lesson()
    as_card, observed = (fit(shape(SLOTS), taught, replace(QUICK, card_share=share), 1)[0] for share in (1.0, 0.0))
    rows = np.flatnonzero(taught.validation & taught.observed)

    assert loss_on(observed, taught, rows) < loss_on(as_card, taught, rows)


def test_it_starts_from_the_straight_lines() -> None:
    given = lines(SLOTS)
    slow = replace(QUICK, epochs=1, learning_rate=1e-9, linear_rate=1e-9, weight_decay=0.0)

    by, _ = fit(shape(SLOTS), replace(lesson(), linear_init=given), slow, 1)

    np.testing.assert_allclose(by.lines.weight[0].numpy(), given.card, atol=1e-6)
    np.testing.assert_allclose(by.lines.weight[1].numpy(), given.observation, atol=1e-6)


def test_what_was_trained_asks_for_no_gradients() -> None:
    assert not learned()[0].training
    assert not any(each.requires_grad for each in learned()[0].parameters())
    assert any(each.requires_grad for each in network(SLOTS).parameters())
