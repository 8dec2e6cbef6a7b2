"""Explains a prediction: the weight of each past start, and the effect of each group of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Events, Floats, Ints, State
from services.predictor.features.history import TAG_NAMES, History
from services.predictor.features.inputs import inputs_of
from services.predictor.features.names import GROUPS, Group
from services.predictor.model.interface import Model


class PastStart(NamedTuple):
    """A past start of an entry. `weight`: sums to 1 over the entry's past starts. `settled_us`: when its result became
    known, in microseconds since 1970."""

    weight: float
    settled_us: float
    venue: int
    course: int


class SlotExplanation(NamedTuple):
    """`without`: P(win) with a group of features unknown. `past`: the highest weight first."""

    slot: int
    entity: str | None
    win: float
    without: dict[Group, float]
    past: tuple[PastStart, ...]


class Explanation(NamedTuple):
    event_key: str
    state: State
    model_version: str
    as_of_us: float
    slots: tuple[SlotExplanation, ...]


def explain(model: Model, events: Events, history: History, state: State) -> list[Explanation]:
    """One explanation per event; the events must be known in this state. An ablation shows what this model would
    predict if it knew less of the event; it shows no causes."""
    encoding = model.description.encoding
    inputs = inputs_of(events, history, encoding, state)
    win = model.probabilities(inputs).win
    without = {group: model.probabilities(inputs.without_group(encoding, group)).win for group in GROUPS}
    attention = model.explain(inputs)
    rows = _past_rows(events, history, state, attention.shape[2])
    return [
        Explanation(
            event_key=str(events.event_key[event]),
            state=state,
            model_version=model.version,
            as_of_us=float(events.as_of_us(state)[event]),
            slots=tuple(
                SlotExplanation(
                    slot=slot + 1,
                    entity=events.entity[event, slot],
                    win=float(win[event, slot]),
                    without={group: float(probabilities[event, slot]) for group, probabilities in without.items()},
                    past=_past(history, rows[event, slot], attention[event, slot], inputs.started[event, slot]),
                )
                for slot in np.flatnonzero(events.occupied[event]).tolist()
            ),
        )
        for event in range(len(events))
    ]


def _past_rows(events: Events, history: History, state: State, count: int) -> Ints:
    """(n, S, H): rows in the history of the past starts of each entry, the newest last, as the model reads them."""
    entities: Sequence[str | None] = events.entity.reshape(-1).tolist()
    as_of = np.repeat(events.as_of_us(state), events.slots).tolist()
    return history.entities.last(entities, as_of, count).reshape(len(events), events.slots, count)


def _past(history: History, rows: Ints, weights: Floats, started: Bools) -> tuple[PastStart, ...]:
    when, venue, lane = (TAG_NAMES.index(name) for name in ("settled_us", "venue", "lane"))
    tags = history.tags[rows]
    starts = [
        PastStart(float(weights[place]), float(tags[place, when]), int(tags[place, venue]), int(tags[place, lane]))
        for place in np.flatnonzero(started)
    ]
    return tuple(sorted(starts, key=lambda each: -each.weight))
