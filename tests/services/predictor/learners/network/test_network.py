"""What the network says, and to what it listens."""

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
from tests.services.predictor.learners.network.made import FEATURES, STARTS, VENUES, inputs, lines, network, shape, told

pytestmark = pytest.mark.slow
HEADS = ("result", "later", "top3", "trend", "behaviour")
SIZES = (2, 3, 6)


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("slots", SIZES)
def test_every_head_speaks_of_every_slot(slots: int) -> None:
    found = told(network(slots), inputs(7, slots))

    assert found.result.shape == found.later.shape == found.top3.shape == (7, slots)
    assert (found.trend.shape, found.behaviour.shape) == ((7, 3), (7, slots, 3))
    assert (found.embedding.shape, found.attention.shape) == ((7, 16), (7, slots, STARTS))
    assert all(torch.isfinite(each).all() for each in found)


@pytest.mark.parametrize("slots", [3, 6])
def test_an_empty_slot_wins_nothing_and_tells_nobody_anything(slots: int) -> None:
    of = inputs(40, slots)
    empty = ~of.occupied
    full = replace(of, entry=of.entry.copy(), starts=of.starts.copy())
    full.entry[empty] = 7.0
    full.starts[empty] = 7.0

    found, other = told(network(slots), of), told(network(slots), full)

    assert empty.any()
    assert (found.result.softmax(dim=1)[torch.tensor(empty)] == 0).all()
    assert (found.later.softmax(dim=1)[torch.tensor(empty)] == 0).all()
    there = torch.tensor(of.occupied)
    for head in ("result", "later", "top3", "behaviour"):
        assert torch.equal(getattr(found, head)[there], getattr(other, head)[there])
    assert torch.equal(found.trend, other.trend)


def test_a_venue_that_training_never_met_is_no_error() -> None:
    of = inputs(5, 3)
    unknown = told(network(3), replace(of, venue=np.zeros(5, dtype=np.int64)))
    last = told(network(3), replace(of, venue=np.full(5, VENUES)))

    assert torch.isfinite(unknown.result).all()
    assert not torch.equal(unknown.result, last.result)


def test_entries_that_change_places_change_what_is_said_of_them() -> None:
    """Where the slots themselves mean the same and the lanes go along, nothing else changes."""
    by, of = network(6), inputs(30, 6)
    with torch.no_grad():
        by.slot.weight[4] = by.slot.weight[1]
        by.base[:, 4] = by.base[:, 1]
    of.course[:] = np.arange(1, 7)
    swap = np.array([0, 4, 2, 3, 1, 5])
    swapped = replace(
        of,
        entry=of.entry[:, swap],
        occupied=of.occupied[:, swap],
        course=of.course[:, swap],
        starts=of.starts[:, swap],
        started=of.started[:, swap],
    )

    found, other = told(by, of), told(by, swapped)

    for head in ("result", "later", "top3", "behaviour", "attention"):
        close(getattr(other, head), getattr(found, head)[:, swap])
    close(other.trend, found.trend)
    close(other.embedding, found.embedding)


@pytest.mark.parametrize("part", ["slot", "course", "venue", "starts", "rival"])
def test_it_listens_to(part: str) -> None:
    by, of = network(4), inputs(20, 4)
    other = replace(of, entry=of.entry.copy(), starts=of.starts.copy(), course=of.course.copy())
    if part == "slot":
        with torch.no_grad():
            by.slot.weight[1] = by.slot.weight[0]
            before = told(by, of).result
            by.slot.weight[1] = -by.slot.weight[0]
        assert not torch.equal(told(by, of).result[:, 1], before[:, 1])
        return
    if part == "course":
        other.course[:, 0] = 1 + of.course[:, 0] % 4
    elif part == "venue":
        other = replace(other, venue=1 + of.venue % VENUES)
    elif part == "starts":
        other.starts[of.started] += 1.0
    else:
        other.entry[:, 1] += 1.0  # slot 0 hears of it

    moved = (told(by, of).result[:, 0] - told(by, other).result[:, 0]).abs() > 1e-4
    heard = of.started[:, 0].any(axis=1) if part == "starts" else np.ones(20, dtype=np.bool_)
    assert moved[torch.tensor(heard)].all()


def test_attention_over_past_starts_sums_to_one_where_there_is_one() -> None:
    of = inputs(50, 4)

    found = told(network(4), of).attention.double().numpy()

    some = of.started.any(axis=2)
    assert some.any()
    assert not some.all()
    np.testing.assert_allclose(found[some].sum(axis=1), 1, atol=1e-6)
    assert (found[~some] == 0).all()
    assert (found[~of.started] == 0).all()
    assert (found[of.started] > 0).all()


@pytest.mark.parametrize("observed", [False, True])
def test_before_training_it_says_what_the_straight_lines_say(observed: bool) -> None:
    torch.manual_seed(1)
    fresh, straight = Network(shape(4)).eval(), lines(4)
    fresh.init_linear_terms(straight)
    of = inputs(30, 4, observed=observed)

    found = told(fresh, of)

    weights, base = (
        (straight.observation, straight.observation_base) if observed else (straight.card, straight.card_base)
    )
    score = np.where(of.occupied, of.entry.astype(np.float64) @ weights + base, EMPTY)
    np.testing.assert_allclose(found.result.double().numpy()[of.occupied], score[of.occupied], atol=1e-5)
    assert (found.trend == 0).all()
    assert (found.behaviour == 0).all()
    of.entry[:] = 0.0
    rate = told(fresh, of).top3.sigmoid().double().numpy()
    np.testing.assert_allclose(rate, np.broadcast_to(straight.top3_rate, rate.shape), atol=1e-6)


def _same(found: Logits, wanted: Logits, rows: slice) -> None:
    for head in (*HEADS, "embedding", "attention"):
        assert torch.equal(getattr(found, head), getattr(wanted, head)[rows]), head


@pytest.mark.parametrize(("slots", "width", "features"), [(6, 96, 331), (6, 48, 5), (3, 48, 77), (2, 96, 61)])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_event_gets_the_same_bits_in_every_batch(slots: int, width: int, features: int, threads: int) -> None:
    """Counts of features that are no multiple of anything: then events begin anywhere in memory."""
    torch.manual_seed(2)
    by = Network(shape(slots).model_copy(update={"width": width, "start_width": 48, "entry_features": features}))
    with torch.no_grad():
        for parameter in by.parameters():
            parameter.normal_(std=0.1)
    of = inputs(300, slots, features=features)

    with torch_threads(threads):
        whole = logits_of(by, of)
        for size in (1, 2, 7, 256):
            for start in range(0, 30, size):
                rows = slice(start, start + size)
                _same(logits_of(by, of[rows]), whole, rows)


def test_the_last_event_of_a_long_batch_is_not_alone() -> None:
    by, of = network(6), inputs(CHUNK + 1, 6)

    _same(logits_of(by, of[CHUNK - 1 :]), logits_of(by, of), slice(CHUNK - 1, None))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_nothing_is_said_of_no_events() -> None:
    found = logits_of(network(3), inputs(0, 3))

    assert found.result.shape == (0, 3)


def test_what_is_asked_is_not_changed() -> None:
    of = inputs(5, 3)
    before = Inputs(*(getattr(of, each.name).copy() for each in fields(of)))

    logits_of(network(3), of)

    assert of.hashes() == before.hashes()
    assert of.entry.shape == (5, 3, FEATURES)
