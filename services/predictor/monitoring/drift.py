"""Measures how far the features that the live model reads have drifted from its training data.

One thread adds, others read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from services.predictor.data.events import STATES, Floats32, State
from services.predictor.evaluation.stability_index import Bins, psi
from services.predictor.features.inputs import Inputs
from services.predictor.model.interface import Model

# Number of events: some days of a busy source. With fewer than MIN_EVENTS, the index is mostly chance.
WINDOW_EVENTS, MIN_EVENTS = 1000, 200
# The index is computed again after this many new events: 300 features take some ten milliseconds.
RECOMPUTE_EVERY = 50
# Number of features published by name; the others only count in the means of their groups.
TOP_FEATURES = 10


class Drift:
    """Population stability index of each feature, over the last events that the live model predicted.

    Observation features are measured over observed events, all other features over cards.
    """

    def __init__(self) -> None:
        self._model: Model | None = None
        self._recent: dict[State, deque[tuple[Floats32, Floats32]]] = {
            state: deque(maxlen=WINDOW_EVENTS) for state in STATES
        }
        self._new_events = 0
        self._by_feature: dict[str, float] = {}

    def compare_with(self, model: Model | None) -> None:
        """Measures against the training data of this model from now on; starts over if it is a new one."""
        if model is not None and self._model is not None and model.version == self._model.version:
            return
        self._model = model
        for recent in self._recent.values():
            recent.clear()
        self._new_events, self._by_feature = 0, {}

    def add(self, inputs: Inputs, state: State) -> None:
        """Adds inputs that the live model has just read."""
        self._recent[state].extend(
            (inputs.entry[row][inputs.occupied[row]], inputs.event[row][None]) for row in range(len(inputs))
        )
        self._new_events += len(inputs)
        if self._new_events >= RECOMPUTE_EVERY:
            self._new_events, self._by_feature = 0, self._compute()

    def worst(self) -> dict[str, float]:
        """The index of the TOP_FEATURES features with the largest drift."""
        ranked = sorted(self._by_feature.items(), key=lambda item: -item[1])
        return {name: round(value, 4) for name, value in ranked[:TOP_FEATURES]}

    def groups(self) -> dict[str, float]:
        """Mean index of each feature group."""
        if self._model is None:
            return {}
        groups: dict[str, list[float]] = {}
        group_of = self._model.description.encoding.groups
        for name, value in self._by_feature.copy().items():
            groups.setdefault(group_of[name], []).append(value)
        return {group: float(np.mean(values)) for group, values in groups.items()}

    def _compute(self) -> dict[str, float]:
        assert self._model is not None  # noqa: S101  # inputs were added, so there is a live model
        description = self._model.description
        encoding, by_feature = description.encoding, dict[str, float]()
        groups = encoding.groups
        for state, recent in self._recent.items():
            if len(recent) < MIN_EVENTS:
                continue
            for part, names in enumerate((encoding.entry_features, encoding.event_features)):
                values = np.concatenate([each[part] for each in recent])
                selected = [(groups[name] == "observation") == (state == "observation") for name in names]
                by_feature |= _indices(values, names, selected, description.drift)
        return by_feature


def _indices(
    values: Floats32, names: tuple[str, ...], selected: Sequence[bool], bins: Mapping[str, Bins]
) -> dict[str, float]:
    """(m, F) -> the index of each selected feature that has bins."""
    return {
        name: psi(bins[name], values[:, column])
        for column, (name, here) in enumerate(zip(names, selected, strict=True))
        if here and name in bins
    }
