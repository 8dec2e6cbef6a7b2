"""What turns facts into numbers the same way for ever: names, codes, base rates, standardisation. Pure.

Fitted once, on training data, and kept in the model's file: a measure the training never saw has no column.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from services.predictor.facts import Floats, Season
from services.predictor.history import HISTORY

# A code with more values than this (a motor's number, a wind direction) is an identity, not a class.
MOST_VALUES = 8
EVENT_NUMBERS = ("number", "distance_m")
# A recorded card holds these as they were at the end of its day, whenever it was published: reading them would be
# reading the future. The distance is read once the event was observed, the weight is one of the observed measures.
LATE_MEASURES = frozenset({"weight_kg", "hull_top2_percent", "hull_top3_percent"})
LATE_EVENT_NUMBERS = frozenset({"distance_m"})
# Weight of the uniform rate in a slot's base rate, in events: no slot ever has probability zero.
PRIOR_EVENTS = 6.0
# Values beyond these quantiles count as if they were there: a few laps of eight seconds among those of seven must not
# set the unit in which a hundredth is measured.
TAILS = (0.01, 0.99)


class Names(BaseModel):
    """What is read, in order. `slots` is the most entries an event had; `venues` those that training met."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: int
    measures: tuple[str, ...]
    observed: tuple[str, ...]
    conditions: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    codes: dict[str, tuple[str, ...]]
    venues: tuple[int, ...]
    win_rate: tuple[float, ...]
    top3_rate: tuple[float, ...]

    @property
    def entry_values(self) -> tuple[str, ...]:
        return (*self.measures, *HISTORY, *(f"observed_{name}" for name in self.observed))

    @property
    def event_values(self) -> tuple[str, ...]:
        return (*EVENT_NUMBERS, *self.conditions)


class Encoding(BaseModel):
    """Names with the mean and deviation of each of their values, and the deviation within an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: Names
    entry_mean: tuple[float, ...]
    entry_deviation: tuple[float, ...]
    entry_spread: tuple[float, ...]
    event_mean: tuple[float, ...]
    event_deviation: tuple[float, ...]

    @property
    def entry_features(self) -> tuple[str, ...]:
        """Columns of the entry features: each value, against the event mean, if it is unknown; then codes."""
        names = self.names
        return (
            *names.entry_values,
            *(f"{name}_in_event" for name in names.entry_values),
            *(f"{name}_unknown" for name in names.entry_values),
            *(f"course={course}" for course in range(1, names.slots + 1)),
            *(f"{name}={value}" for name, values in names.categories.items() for value in values),
        )

    @property
    def event_features(self) -> tuple[str, ...]:
        names = self.names
        return (
            *names.event_values,
            *(f"{name}_unknown" for name in names.event_values),
            *(f"{name}={value}" for name, values in names.codes.items() for value in values),
            "is_observed",
        )


def names_of(season: Season) -> Names:
    """What there is to read in these events."""
    cards = season.cards
    slots = int(cards.entries["slot"].max())
    return Names(
        slots=slots,
        measures=tuple(sorted(set(cards.measures.columns) - LATE_MEASURES)),
        observed=tuple(sorted(cards.observed.columns)),
        conditions=tuple(sorted(cards.conditions.columns)),
        categories=_classes(cards.categories),
        codes=_classes(cards.codes),
        venues=tuple(sorted({int(venue) for venue in cards.events["venue"]})),
        win_rate=_rate(season, slots, 1),
        top3_rate=_rate(season, slots, 3),
    )


def encoding_of(names: Names, entry: Floats, event: Floats) -> Encoding:
    """Fit mean and deviation: entry values (n, S, K), event values (n, J), NaN where unknown."""
    values = entry.shape[-1]
    entry_mean, entry_deviation = _moments(entry.reshape(-1, values))
    _, entry_spread = _moments((entry - event_median(entry)[:, None]).reshape(-1, values))
    event_mean, event_deviation = _moments(event)
    return Encoding(
        names=names,
        entry_mean=entry_mean,
        entry_deviation=entry_deviation,
        entry_spread=entry_spread,
        event_mean=event_mean,
        event_deviation=event_deviation,
    )


def _classes(frame: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    values = {name: sorted(frame[name].dropna().unique()) for name in sorted(frame.columns)}
    return {name: tuple(found) for name, found in values.items() if 1 < len(found) <= MOST_VALUES}


def _rate(season: Season, slots: int, place: int) -> tuple[float, ...]:
    """The share of events in which each slot came in at `place` or before."""
    outcomes = season.outcomes
    reached = outcomes.loc[outcomes["place"] <= place, "slot"].value_counts().reindex(range(1, slots + 1), fill_value=0)
    share = (reached.to_numpy(np.float64) + PRIOR_EVENTS * place / slots) / (len(season.amounts) + PRIOR_EVENTS)
    return tuple(float(value) for value in np.minimum(share, 0.999))


def event_median(entry: Floats) -> Floats:
    """(n, S, K) -> (n, K) over the known entries; one accident in an event does not move it, as it would the mean."""
    count = np.isfinite(entry).sum(axis=1)  # (n, K)
    ordered = np.sort(entry, axis=1)  # unknown ones last
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, entry.shape[1] - 1)
    middle = [np.take_along_axis(ordered, index[:, None], axis=1)[:, 0] for index in (low, high)]
    return np.asarray((middle[0] + middle[1]) / 2)


def _moments(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means, deviations = [], []
    for column in values.T:
        known = column[np.isfinite(column)]
        if len(known):
            known = known.clip(*np.quantile(known, TAILS))
        deviation = float(known.std()) if len(known) else 0.0
        means.append(float(known.mean()) if len(known) else 0.0)
        deviations.append(deviation if deviation > 1e-9 else 1.0)
    return tuple(means), tuple(deviations)
