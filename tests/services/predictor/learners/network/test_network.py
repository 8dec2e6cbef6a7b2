"""The outputs of the network, and the inputs that they depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from services.predictor.features.inputs import Inputs
from services.predictor.learners.network.inference import CHUNK, logits_of
from services.predictor.learners.network.network import EMPTY, Logits, Network
from tests.services.predictor.learners.network.synthetic_inputs import (
    FEATURES,
    STARTS,
    VENUES,
    forward,
    inputs,
    linear_init,
    network,
    shape,
)

pytestmark = pytest.mark.slow
HEADS = ("result", "later", "top3", "trend", "behaviour")
SIZES = (2, 3, 6)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("slots", SIZES)
def test_every_head_has_a_value_for_every_slot(slots: int) -> None:
    logits = forward(network(slots), inputs(7, slots))

    assert logits.result.shape == logits.later.shape == logits.top3.shape == (7, slots)
    assert (logits.trend.shape, logits.behaviour.shape) == ((7, 3), (7, slots, 3))
    assert (logits.embedding.shape, logits.attention.shape) == ((7, 16), (7, slots, STARTS))
    assert all(torch.isfinite(each).all() for each in logits)


@pytest.mark.parametrize("slots", [3, 6])
def test_an_empty_slot_cannot_win_and_affects_no_other(slots: int) -> None:
    data = inputs(40, slots)
    empty = ~data.occupied
    full = replace(data, entry=data.entry.copy(), starts=data.starts.copy())
    full.entry[empty] = 7.0
    full.starts[empty] = 7.0

    logits, other = forward(network(slots), data), forward(network(slots), full)

    assert empty.any()
    assert (logits.result.softmax(dim=1)[torch.tensor(empty)] == 0).all()
    assert (logits.later.softmax(dim=1)[torch.tensor(empty)] == 0).all()
    there = torch.tensor(data.occupied)
    for head in ("result", "later", "top3", "behaviour"):
        assert torch.equal(getattr(logits, head)[there], getattr(other, head)[there])
    assert torch.equal(logits.trend, other.trend)


def test_a_venue_that_is_new_since_training_is_accepted() -> None:
    data = inputs(5, 3)
    unknown = forward(network(3), replace(data, venue=np.zeros(5, dtype=np.int64)))
    last = forward(network(3), replace(data, venue=np.full(5, VENUES)))

    assert torch.isfinite(unknown.result).all()
    assert not torch.equal(unknown.result, last.result)


def test_swapping_two_entries_swaps_their_outputs() -> None:
    """If the two slots are equivalent and the lanes move along, nothing else changes."""
    model, data = network(6), inputs(30, 6)
    with torch.no_grad():
        model.slot.weight[4] = model.slot.weight[1]
        model.base[:, 4] = model.base[:, 1]
    data.course[:] = np.arange(1, 7)
    swap = np.array([0, 4, 2, 3, 1, 5])
    swapped = replace(
        data,
        entry=data.entry[:, swap],
        occupied=data.occupied[:, swap],
        course=data.course[:, swap],
        starts=data.starts[:, swap],
        started=data.started[:, swap],
    )

    logits, other = forward(model, data), forward(model, swapped)

    for head in ("result", "later", "top3", "behaviour", "attention"):
        assert_close(getattr(other, head), getattr(logits, head)[:, swap])
    assert_close(other.trend, logits.trend)
    assert_close(other.embedding, logits.embedding)


@pytest.mark.parametrize("part", ["slot", "course", "venue", "starts", "rival"])
def test_the_output_depends_on(part: str) -> None:
    model, data = network(4), inputs(20, 4)
    other = replace(data, entry=data.entry.copy(), starts=data.starts.copy(), course=data.course.copy())
    if part == "slot":
        with torch.no_grad():
            model.slot.weight[1] = model.slot.weight[0]
            before = forward(model, data).result
            model.slot.weight[1] = -model.slot.weight[0]
        assert not torch.equal(forward(model, data).result[:, 1], before[:, 1])
        return
    if part == "course":
        other.course[:, 0] = 1 + data.course[:, 0] % 4
    elif part == "venue":
        other = replace(other, venue=1 + data.venue % VENUES)
    elif part == "starts":
        other.starts[data.started] += 1.0
    else:
        other.entry[:, 1] += 1.0  # must reach slot 0

    changed = (forward(model, data).result[:, 0] - forward(model, other).result[:, 0]).abs() > 1e-4
    affected = data.started[:, 0].any(axis=1) if part == "starts" else np.ones(20, dtype=np.bool_)
    assert changed[torch.tensor(affected)].all()


def test_attention_over_past_starts_sums_to_one_where_there_is_one() -> None:
    data = inputs(50, 4)

    logits = forward(network(4), data).attention.double().numpy()

    some = data.started.any(axis=2)
    assert some.any()
    assert not some.all()
    np.testing.assert_allclose(logits[some].sum(axis=1), 1, atol=1e-6)
    assert (logits[~some] == 0).all()
    assert (logits[~data.started] == 0).all()
    assert (logits[data.started] > 0).all()


@pytest.mark.parametrize("observed", [False, True])
def test_before_training_the_outputs_are_the_linear_terms(observed: bool) -> None:
    torch.manual_seed(1)
    model, linear = Network(shape(4)).eval(), linear_init(4)
    model.init_linear_terms(linear)
    data = inputs(30, 4, observed=observed)

    logits = forward(model, data)

    weights, base = (linear.observation, linear.observation_base) if observed else (linear.card, linear.card_base)
    score = np.where(data.occupied, data.entry.astype(np.float64) @ weights + base, EMPTY)
    np.testing.assert_allclose(logits.result.double().numpy()[data.occupied], score[data.occupied], atol=1e-5)
    assert (logits.trend == 0).all()
    assert (logits.behaviour == 0).all()
    data.entry[:] = 0.0
    rate = forward(model, data).top3.sigmoid().double().numpy()
    np.testing.assert_allclose(rate, np.broadcast_to(linear.top3_rate, rate.shape), atol=1e-6)


def _assert_same(actual: Logits, expected: Logits, rows: slice) -> None:
    for head in (*HEADS, "embedding", "attention"):
        assert torch.equal(getattr(actual, head), getattr(expected, head)[rows]), head


@pytest.mark.parametrize(("slots", "width", "features"), [(6, 96, 331), (6, 48, 5), (3, 48, 77), (2, 96, 61)])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_event_gets_the_same_bits_in_every_batch(slots: int, width: int, features: int, threads: int) -> None:
    """Odd numbers of features, so that events start at unaligned addresses."""
    torch.manual_seed(2)
    model = Network(shape(slots).model_copy(update={"width": width, "start_width": 48, "entry_features": features}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1)
    data = inputs(300, slots, features=features)

    with torch_threads(threads):
        whole = logits_of(model, data)
        for size in (1, 2, 7, 256):
            for start in range(0, 30, size):
                rows = slice(start, start + size)
                _assert_same(logits_of(model, data[rows]), whole, rows)


def test_the_last_event_of_a_long_batch_is_not_alone() -> None:
    model, data = network(6), inputs(CHUNK + 1, 6)

    _assert_same(logits_of(model, data[CHUNK - 1 :]), logits_of(model, data), slice(CHUNK - 1, None))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_no_events_give_empty_outputs() -> None:
    logits = logits_of(network(3), inputs(0, 3))

    assert logits.result.shape == (0, 3)


def test_the_inputs_are_not_modified() -> None:
    data = inputs(5, 3)
    before = Inputs(*(getattr(data, each.name).copy() for each in fields(data)))

    logits_of(network(3), data)

    assert data.hashes() == before.hashes()
    assert data.entry.shape == (5, 3, FEATURES)
