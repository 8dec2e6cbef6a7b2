"""Frozen preprocessing: means, standard deviations and unknown flags, fitted on training data.

The encoding is stored in the model's file, so that serving encodes values exactly as training did.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from services.predictor.data.events import Bools, Floats
from services.predictor.features.names import FeatureNames, Group
from services.predictor.features.relative import RELATIVES, relatives
from services.predictor.features.values import FeatureValues

# Values are clipped to these quantiles before fitting: a few laps of eight seconds among laps of seven must not set the
# scale on which hundredths are measured.
TAILS = (0.005, 0.995)
# A value gets a flag feature for "unknown" if it was unknown in more than this share of the training entries.
FLAG_SHARE = 0.002


class Encoding(BaseModel):
    """Columns of the entry features, in order: values, relatives, unknown flags, slots, lanes, category classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: FeatureNames
    entry_mean: tuple[float, ...]
    entry_deviation: tuple[float, ...]
    relative_deviation: tuple[float, ...]
    event_mean: tuple[float, ...]
    event_deviation: tuple[float, ...]
    entry_flags: tuple[int, ...]
    event_flags: tuple[int, ...]

    @property
    def entry_features(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._entry())

    @property
    def entry_groups(self) -> tuple[Group, ...]:
        """The group of each of `entry_features`."""
        return tuple(group for _, group in self._entry())

    @property
    def event_features(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._event())

    @property
    def event_groups(self) -> tuple[Group, ...]:
        return tuple(group for _, group in self._event())

    @property
    def groups(self) -> dict[str, Group]:
        return dict([*self._entry(), *self._event()])

    def _entry(self) -> list[tuple[str, Group]]:
        names = self.names
        values = list(zip(names.entry_values, names.entry_groups, strict=True))
        slots = range(1, names.profile.slots + 1)
        return [
            *values,
            *((f"{name}_{relative}", group) for relative in RELATIVES for name, group in values),
            *((f"{values[index][0]}_unknown", values[index][1]) for index in self.entry_flags),
            *((f"slot={slot}", "card") for slot in slots),
            *((f"course={slot}", "observation") for slot in slots),
            *((f"{name}={value}", "card") for name, known in names.categories.items() for value in known),
        ]

    def _event(self) -> list[tuple[str, Group]]:
        names = self.names
        values = list(zip(names.event_values, names.event_groups, strict=True))
        return [
            *values,
            *((f"{values[index][0]}_unknown", values[index][1]) for index in self.event_flags),
            *(
                (f"{name}={value:g}", "card" if name == "grade" else "observation")
                for name, known in names.codes.items()
                for value in known
            ),
            ("is_observed", "observation"),
        ]


def fit_encoding(names: FeatureNames, values: FeatureValues, rows: Bools) -> Encoding:
    """Fits on the selected rows. `values` are those of the best-informed state."""
    occupied = values.occupied[rows]
    entry = values.entry[rows][occupied]
    relative = relatives(values.entry[rows], values.lane[rows])[occupied]
    entry_mean, entry_deviation = _moments(entry)
    event_mean, event_deviation = _moments(values.event[rows])
    return Encoding(
        names=names,
        entry_mean=entry_mean,
        entry_deviation=entry_deviation,
        relative_deviation=_moments(relative)[1],
        event_mean=event_mean,
        event_deviation=event_deviation,
        entry_flags=_flagged_columns(entry),
        event_flags=_flagged_columns(values.event[rows]),
    )


def _flagged_columns(values: Floats) -> tuple[int, ...]:
    share = np.isnan(values).mean(axis=0) if len(values) else np.zeros(values.shape[1])
    return tuple(int(index) for index in np.flatnonzero((share > FLAG_SHARE) & (share < 1)))


def _moments(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means, deviations = [], []
    for column in values.T:
        finite = column[np.isfinite(column)]
        if len(finite):
            finite = finite.clip(*np.quantile(finite, TAILS))
        deviation = float(finite.std()) if len(finite) else 0.0
        means.append(float(finite.mean()) if len(finite) else 0.0)
        deviations.append(deviation if deviation > 1e-9 else 1.0)
    return tuple(means), tuple(deviations)
