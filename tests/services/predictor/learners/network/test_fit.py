"""The training loop: what it learns, which events it uses, and which epoch it keeps."""

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
from tests.services.predictor.learners.network.synthetic_inputs import examples, linear_init, network, shape

pytestmark = pytest.mark.slow
SLOTS = 4
QUICK = OptimizerConfig(epochs=2, batch=64, learning_rate=5e-3, average=0.8)


@cache
def trained_network(seed: int = 1) -> tuple[Network, tuple[float, ...]]:
    model, curve = fit(shape(SLOTS), examples(), QUICK, seed)
    return model, tuple(curve)


def same_weights(one: Network, other: Network) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def loss_on(model: Network, data: Examples, rows: Ints) -> float:
    inputs, targets = data.inputs["observation"][rows], data.targets[rows]
    parts = (torch.from_numpy(each) for each in (targets.places, targets.trend, targets.behaviour, inputs.occupied))
    return float(loss_of(logits_of(model, inputs), *parts))


def test_the_network_learns_what_no_linear_model_can() -> None:
    count = 1500
    data = examples(count, training=np.arange(count) < 1000)
    model, curve = fit(shape(SLOTS), data, OptimizerConfig(epochs=7, batch=64, learning_rate=6e-3, average=0.9), 1)
    unseen = np.arange(1000, 1250)
    targets, logits = data.targets[unseen], logits_of(model, data.inputs["observation"][unseen])
    loss = torch.nn.functional.cross_entropy(logits.result, torch.from_numpy(targets.winner))
    entry = data.inputs["observation"].entry[unseen]
    linear_scores = torch.tensor(np.where(data.inputs["observation"].occupied[unseen], 1.5 * entry[..., 0], -1e9))
    linear_loss = torch.nn.functional.cross_entropy(linear_scores, torch.from_numpy(targets.winner))

    assert float(loss) < float(linear_loss) - 0.05
    assert curve[-1] < curve[0]
    assert float((logits.trend.argmax(1) == torch.from_numpy(targets.trend)).double().mean()) > 0.8
    known = torch.from_numpy(targets.behaviour >= 0)
    right = logits.behaviour.argmax(2) == torch.from_numpy(targets.behaviour)
    assert float(right[known].double().mean()) > 0.8


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    torch.manual_seed(99)  # the state of the global generator must not matter
    again, curve = fit(shape(SLOTS), examples(), QUICK, 1)

    assert same_weights(again, trained_network()[0])
    assert tuple(curve) == trained_network()[1]
    assert not same_weights(trained_network(2)[0], again)


def test_only_training_events_change_weights() -> None:
    """With one epoch there is no choice of the best: other results and inputs of the other events change no weight."""
    once, data = replace(QUICK, epochs=1), examples()
    before, curve = fit(shape(SLOTS), data, once, 1)
    rest, rng = ~data.training, np.random.default_rng(8)
    places, trend, behaviour = (
        each.copy() for each in (data.targets.places, data.targets.trend, data.targets.behaviour)
    )
    places[rest] = np.roll(places[rest], 1, axis=1)
    trend[rest], behaviour[rest] = 2 - trend[rest], -1
    others = {state: replace(inputs, entry=inputs.entry.copy()) for state, inputs in data.inputs.items()}
    for inputs in others.values():
        inputs.entry[rest] += rng.standard_normal(inputs.entry[rest].shape).astype(np.float32)
    other = replace(data, inputs=others, targets=Targets(places, trend, behaviour, data.targets.winner))

    after, other_curve = fit(shape(SLOTS), other, once, 1)

    assert same_weights(before, after)
    assert curve != other_curve


def test_training_events_change_weights() -> None:
    data = examples()
    one = np.flatnonzero(data.training)[0]
    places = data.targets.places.copy()
    places[one] = np.roll(places[one], 1)
    other = replace(data, targets=replace(data.targets, places=places))

    assert not same_weights(fit(shape(SLOTS), other, QUICK, 1)[0], trained_network()[0])


def test_the_epoch_that_validated_best_is_kept_and_training_ends_soon_after() -> None:
    """The learning rate is far too high: the loss rises after the first steps."""
    data = examples()
    wild = OptimizerConfig(epochs=30, batch=32, learning_rate=0.05, average=0.5, patience=2)

    model, curve = fit(shape(SLOTS), data, wild, 1)

    best = int(np.argmin(curve))
    assert len(curve) == best + 1 + wild.patience < wild.epochs
    assert loss_on(model, data, np.flatnonzero(data.validation & data.observed)) == curve[best] < curve[-1]


def test_an_unobserved_event_is_shown_only_as_its_card() -> None:
    data = examples()
    hidden = replace(data.inputs["observation"], entry=data.inputs["observation"].entry.copy())
    hidden.entry[~data.observed] = np.nan

    model, curve = fit(shape(SLOTS), replace(data, inputs=data.inputs | {"observation": hidden}), QUICK, 1)

    assert same_weights(model, trained_network()[0])
    assert np.isfinite(curve).all()


def test_events_are_shown_in_both_states() -> None:
    data = examples()
    as_card, observed = (fit(shape(SLOTS), data, replace(QUICK, card_share=share), 1)[0] for share in (1.0, 0.0))
    rows = np.flatnonzero(data.validation & data.observed)

    assert loss_on(observed, data, rows) < loss_on(as_card, data, rows)


def test_training_starts_from_the_linear_terms() -> None:
    initial = linear_init(SLOTS)
    slow = replace(QUICK, epochs=1, learning_rate=1e-9, linear_rate=1e-9, weight_decay=0.0)

    model, _ = fit(shape(SLOTS), replace(examples(), linear_init=initial), slow, 1)

    np.testing.assert_allclose(model.lines.weight[0].numpy(), initial.card, atol=1e-6)
    np.testing.assert_allclose(model.lines.weight[1].numpy(), initial.observation, atol=1e-6)


def test_a_trained_network_requires_no_gradients() -> None:
    assert not trained_network()[0].training
    assert not any(each.requires_grad for each in trained_network()[0].parameters())
    assert any(each.requires_grad for each in network(SLOTS).parameters())
