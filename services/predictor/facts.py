"""The facts a prediction rests on, as frames, and what the predictor asks of whoever stores them. Pure.

Instants are whole microseconds since 1970 (UTC) in float64, which is exact until the year 2255; NaN is "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pandas as pd

State = Literal["card", "observation"]
STATES: tuple[State, State] = ("card", "observation")
Floats = npt.NDArray[np.float64]

# Nothing older than an entity's last 30 starts is looked at, in training and in serving.
PAST_STARTS = 30


@dataclass(frozen=True)
class Cards:
    """What is known of some events, and the past starts of their entities.

    `events`: event_key, venue, number, distance_m, grade, listed_us, observed_us, settled_us, scheduled_us, status.
    `codes`: what is a code there (grade, weather), as text, rows as in `events`; `conditions` likewise, as numbers.
    `entries`: event (row in `events`), slot, entity_key; `measures` and `categories` (text) have the same rows.
    `observations`: event, slot, course; `observed` has the same rows, one column per measure.
    `starts`: entity_key, event_key, venue, slot, course, place, timing_s, settled_us; see `history.py`.
    """

    events: pd.DataFrame
    codes: pd.DataFrame
    conditions: pd.DataFrame
    entries: pd.DataFrame
    measures: pd.DataFrame
    categories: pd.DataFrame
    observations: pd.DataFrame
    observed: pd.DataFrame
    starts: pd.DataFrame


@dataclass(frozen=True)
class Season:
    """Settled events with their cards, and what came of them.

    `days`: the date of each event of `cards.events`, as text.
    `outcomes`: event (row), slot, place, timing_s. `amounts`: the main market's settled amount per event, or NaN.
    """

    cards: Cards
    days: pd.Series[str]
    outcomes: pd.DataFrame
    amounts: Floats


class Told(NamedTuple):
    """The newest live prediction of one settled event in one state: P(win) by slot, and who won."""

    event_key: str
    state: State
    p_win: Mapping[int, float]
    winner: int


class Facts(Protocol):
    """What the predictor asks while it serves."""

    def cards(self, event_keys: Sequence[str]) -> Cards:
        """The events that are known of, with each entity's last starts. Raises TransientError."""
        ...

    def told(self, event_keys: Sequence[str]) -> list[Told]:
        """Newest live predictions of those events that have exactly one winner. Raises TransientError."""
        ...

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        """Those of these predictions that are rows already. Raises TransientError."""
        ...


def as_of_us(cards: Cards, state: State) -> Floats:
    """(events,): when the newest fact that a prediction in this state uses became known; NaN where it is not."""
    listed: Floats = cards.events["listed_us"].to_numpy(np.float64)
    if state == "card":
        return listed
    observed: Floats = cards.events["observed_us"].to_numpy(np.float64)
    return np.maximum(listed, observed)
