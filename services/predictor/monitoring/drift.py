"""How far what the live model reads now is from what it was trained on. One thread adds, others read."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from services.predictor.data.events import STATES, Floats32, State
from services.predictor.evaluation.stability_index import Bins, psi
from services.predictor.features.inputs import Inputs
from services.predictor.model.interface import Model

# Some days of a busy source. Fewer than LEAST say more of chance than of drift.
RECENT, LEAST = 1000, 200
# After so many new events it is looked at again: 300 features take some ten milliseconds.
LOOK_EVERY = 50
# How many features are named; the others are in their groups' means.
NAMED = 10


class Drift:
    """Population stability index of each feature, of the last events that the live model predicted.

    What is only observed is judged among events that were; card and history among all, as of their cards.
    """

    def __init__(self) -> None:
        self._model: Model | None = None
        self._recent: dict[State, deque[tuple[Floats32, Floats32]]] = {state: deque(maxlen=RECENT) for state in STATES}
        self._since = 0
        self._found: dict[str, float] = {}

    def judge(self, model: Model | None) -> None:
        """Against this one's training from now on."""
        if model is not None and self._model is not None and model.version == self._model.version:
            return
        self._model = model
        for recent in self._recent.values():
            recent.clear()
        self._since, self._found = 0, {}

    def note(self, inputs: Inputs, state: State) -> None:
        """What the live model has just read."""
        self._recent[state].extend(
            (inputs.entry[row][inputs.taken[row]], inputs.event[row][None]) for row in range(len(inputs))
        )
        self._since += len(inputs)
        if self._since >= LOOK_EVERY:
            self._since, self._found = 0, self._look()

    def worst(self) -> dict[str, float]:
        """The NAMED features that moved furthest, by name."""
        ranked = sorted(self._found.items(), key=lambda item: -item[1])
        return {name: round(value, 4) for name, value in ranked[:NAMED]}

    def groups(self) -> dict[str, float]:
        """Mean of each feature group."""
        if self._model is None:
            return {}
        groups: dict[str, list[float]] = {}
        of = self._model.description.encoding.groups
        for name, value in self._found.copy().items():
            groups.setdefault(of[name], []).append(value)
        return {group: float(np.mean(values)) for group, values in groups.items()}

    def _look(self) -> dict[str, float]:
        assert self._model is not None  # noqa: S101  # somebody predicted
        description = self._model.description
        encoding, found = description.encoding, dict[str, float]()
        groups = encoding.groups
        for state, recent in self._recent.items():
            if len(recent) < LEAST:
                continue
            for part, names in enumerate((encoding.entry_features, encoding.event_features)):
                values = np.concatenate([each[part] for each in recent])
                here = [(groups[name] == "observation") == (state == "observation") for name in names]
                found |= _indices(values, names, here, description.drift)
        return found


def _indices(
    values: Floats32, names: tuple[str, ...], wanted: Sequence[bool], bins: Mapping[str, Bins]
) -> dict[str, float]:
    """(m, F) -> the index of each wanted feature that training has bins of."""
    return {
        name: psi(bins[name], values[:, column])
        for column, (name, here) in enumerate(zip(names, wanted, strict=True))
        if here and name in bins
    }
