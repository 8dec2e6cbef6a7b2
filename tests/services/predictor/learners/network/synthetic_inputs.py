"""Synthetic inputs of a network, and outcomes drawn from probabilities that depend on the features."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from services.predictor.data.events import Bools
from services.predictor.data.targets import Targets
from services.predictor.features.inputs import Inputs
from services.predictor.learners.network.fit import Examples
from services.predictor.learners.network.network import LinearInit, Logits, Network, NetworkBatch, Shape

FEATURES, EVENT_FEATURES, STARTS, START_VALUES, VENUES = 5, 3, 4, 3, 4


def shape(slots: int) -> Shape:
    return Shape(
        slots=slots,
        entry_features=FEATURES,
        event_features=EVENT_FEATURES,
        venues=VENUES,
        start_values=START_VALUES,
        width=16,
        start_width=8,
        dropout=0.2,
    )


def inputs(count: int, slots: int, seed: int = 0, *, observed: bool = True, features: int = FEATURES) -> Inputs:
    """The last slot is often empty, venues are often unknown, and entities have from 0 to 4 past starts."""
    rng = np.random.default_rng(seed)
    occupied = np.ones((count, slots), dtype=np.bool_)
    occupied[:, -1] = (rng.random(count) < 0.7) | (slots == 2)
    event = rng.standard_normal((count, EVENT_FEATURES)).astype(np.float32)
    event[:, -1] = observed
    started = np.arange(STARTS) >= rng.integers(0, STARTS + 1, (count, slots, 1))
    starts = rng.standard_normal((count, slots, STARTS, START_VALUES)) * started[..., None]
    return Inputs(
        entry=(rng.standard_normal((count, slots, features)) * occupied[:, :, None]).astype(np.float32),
        event=event,
        occupied=occupied,
        venue=rng.integers(0, VENUES + 1, count),
        course=rng.integers(0, slots + 1, (count, slots)),
        starts=starts.astype(np.float32),
        started=started & occupied[:, :, None],
    )


def as_card(observed: Inputs) -> Inputs:
    """The same events without their observation, to which feature 1 belongs."""
    entry, event = observed.entry.copy(), observed.event.copy()
    entry[..., 1], event[:, -1] = 0.0, 0.0
    return replace(observed, entry=entry, event=event, course=np.zeros_like(observed.course))


def batch(data: Inputs) -> NetworkBatch:
    return NetworkBatch(*(torch.tensor(getattr(data, each.name)) for each in fields(data)))


def network(slots: int, seed: int = 3) -> Network:
    """All parameters are random. Before training, some parts of a network have no effect."""
    torch.manual_seed(seed)
    model = Network(shape(slots)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def forward(model: Network, data: Inputs) -> Logits:
    with torch.no_grad():
        return model(batch(data))  # type: ignore[no-any-return]


def linear_init(slots: int, seed: int = 1) -> LinearInit:
    rng = np.random.default_rng(seed)
    return LinearInit(
        card=rng.standard_normal(FEATURES),
        card_base=rng.standard_normal(slots),
        observation=rng.standard_normal(FEATURES),
        observation_base=rng.standard_normal(slots),
        top3_rate=rng.uniform(0.3, 0.9, slots),
    )


def zero_linear_init(slots: int) -> LinearInit:
    flat, silent = np.zeros(slots), np.zeros(FEATURES)
    return LinearInit(silent, flat, silent, flat, np.full(slots, 0.5))


def examples(count: int = 400, slots: int = 4, seed: int = 5, training: Bools | None = None) -> Examples:
    """The winner depends on feature 0 and on the product of 1 and 2, which no linear model expresses."""
    observed = inputs(count, slots, seed)
    rng = np.random.default_rng(seed + 1)
    entry, occupied = observed.entry, observed.occupied
    score = 1.5 * entry[..., 0] + 1.5 * entry[..., 1] * entry[..., 2] + rng.gumbel(size=occupied.shape)
    order = np.where(occupied, score, -np.inf)
    places = np.where(occupied, (-order).argsort(axis=1).argsort(axis=1) + 1, 0).astype(np.int64)
    behaviour = np.where(occupied, np.clip(np.round(entry[..., 3]) + 1, 0, 2), -1).astype(np.int64)
    trend = np.clip(np.round(observed.event[:, 0]) + 1, 0, 2).astype(np.int64)
    trains = np.arange(count) < count * 2 // 3 if training is None else training
    validates = np.arange(count) >= count * 5 // 6  # some events neither train nor validate
    return Examples(
        inputs={"card": as_card(observed), "observation": observed},
        observed=rng.random(count) < 0.8,
        targets=Targets(places, trend, behaviour, order.argmax(axis=1)),
        training=trains,
        validation=validates,
        linear_init=zero_linear_init(slots),
    )
