"""Facts -> model input, the same function for training and for serving. Pure.

As-of is strict: an event in state `card` sees its card and the history known when the card was; in state
`observation` also the observation, and the history known by then. Results' own fields are never read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.predictor.encoding import EVENT_NUMBERS, LATE_EVENT_NUMBERS, Encoding, Names, event_median
from services.predictor.facts import Cards, Floats, State, as_of_us
from services.predictor.history import Ints, PastStarts, history_of

Bools = npt.NDArray[np.bool_]
Floats32 = npt.NDArray[np.float32]

# Standardised values beyond this are typing errors or accidents; further out they would only drown the rest.
CLIP = 5.0


@dataclass(frozen=True)
class Values:
    """Raw numbers: entry (n, S, K) and event (n, J) with NaN for unknown; one-hot codes; which slots are taken."""

    entry: Floats
    entry_codes: Floats
    event: Floats
    event_codes: Floats
    taken: Bools
    venue: Ints
    observed: Bools


@dataclass(frozen=True)
class Features:
    """Model input: entry float32 (n, S, F), event float32 (n, E), taken (n, S), venue (n,): 0 is one never met.

    Columns as Encoding.entry_features and event_features.
    """

    entry: Floats32
    event: Floats32
    taken: Bools
    venue: Ints

    def __len__(self) -> int:
        return len(self.venue)

    def __getitem__(self, rows: Ints | Bools) -> Features:
        return Features(self.entry[rows], self.event[rows], self.taken[rows], self.venue[rows])

    def hashes(self) -> list[str]:
        """One per event: the same input has the same hash."""
        rows = zip(self.entry, self.event, self.taken, self.venue, strict=True)
        return [
            hashlib.blake2b(b"".join(np.ascontiguousarray(part).tobytes() for part in row), digest_size=16).hexdigest()
            for row in rows
        ]


def features_of(cards: Cards, encoding: Encoding, state: State) -> Features:
    """One row per event of `cards.events`, each as of its own instant (facts.as_of_us)."""
    return standardised(values_of(cards, encoding.names, state), encoding)


def values_of(cards: Cards, names: Names, state: State) -> Values:
    """What is known in this state, not yet standardised."""
    shape = (len(cards.events), names.slots)
    at = _places(cards.entries, names.slots)
    entry = np.full((*shape, len(names.entry_values)), np.nan)
    card = np.concatenate([_columns(cards.measures, names.measures), _history(cards, names, state)], axis=1)
    entry[at.event, at.slot, : card.shape[1]] = card[at.rows]
    entry_codes = np.zeros((*shape, names.slots + sum(map(len, names.categories.values()))))
    entry_codes[at.event, at.slot, names.slots :] = _one_hot(cards.categories, names.categories)[at.rows]
    taken = np.zeros(shape, dtype=np.bool_)
    taken[at.event, at.slot] = True
    observed = np.isfinite(cards.events["observed_us"].to_numpy(np.float64)) & (state == "observation")
    _observe(cards, names, observed, entry, entry_codes)
    late = [name in LATE_EVENT_NUMBERS or name in names.conditions for name in names.event_values]
    event = np.concatenate(
        [_columns(cards.events, EVENT_NUMBERS), _columns(cards.conditions, names.conditions)], axis=1
    )
    event[np.ix_(~observed, late)] = np.nan
    return Values(
        entry=entry,
        entry_codes=entry_codes,
        event=event,
        event_codes=_event_codes(cards, names, observed),
        taken=taken,
        venue=pd.Index(names.venues).get_indexer(pd.Index(cards.events["venue"])).astype(np.int64) + 1,
        observed=observed,
    )


def standardised(values: Values, encoding: Encoding) -> Features:
    entry_unknown, event_unknown = np.isnan(values.entry), np.isnan(values.event)
    entry = _scaled(values.entry, encoding.entry_mean, encoding.entry_deviation)
    event = _scaled(values.event, encoding.event_mean, encoding.event_deviation)
    within = values.entry - event_median(values.entry)[:, None, :]
    against = _scaled(within, (0.0,) * within.shape[-1], encoding.entry_spread)
    taken = values.taken[:, :, None]
    entries = np.concatenate([entry, against, entry_unknown, values.entry_codes], axis=2) * taken
    is_observed = values.observed[:, None]
    events = np.concatenate([event, event_unknown, values.event_codes, is_observed], axis=1)
    return Features(entries.astype(np.float32), events.astype(np.float32), values.taken, values.venue)


@dataclass(frozen=True)
class _Places:
    """Where the usable rows of an entry frame go: (event, slot - 1)."""

    rows: Bools
    event: Ints
    slot: Ints


def _places(frame: pd.DataFrame, slots: int) -> _Places:
    slot = frame["slot"].to_numpy(np.int64)
    rows = (slot >= 1) & (slot <= slots)
    return _Places(rows, frame["event"].to_numpy(np.int64)[rows], slot[rows] - 1)


def _history(cards: Cards, names: Names, state: State) -> Floats:
    """(entries, H)"""
    event = cards.entries["event"].to_numpy(np.int64)
    as_of = as_of_us(cards, state)[event]
    past = PastStarts.of(cards.starts)
    return history_of(
        past,
        past.known(cards.entries["entity_key"], as_of),
        cards.entries["slot"].to_numpy(np.float64),
        cards.events["venue"].to_numpy(np.float64)[event],
        as_of,
        np.array(names.win_rate),
        np.array(names.top3_rate),
    )


def _observe(cards: Cards, names: Names, observed: Bools, entry: Floats, entry_codes: Floats) -> None:
    """Fill in the observation block of those events that are observed; the others keep "unknown"."""
    if not names.observed or not observed.any():
        return
    at = _places(cards.observations, names.slots)
    seen = observed[at.event]
    event, slot = at.event[seen], at.slot[seen]
    entry[event, slot, -len(names.observed) :] = _columns(cards.observed, names.observed)[at.rows][seen]
    course = cards.observations["course"].to_numpy(np.float64)[at.rows][seen]
    known = (course >= 1) & (course <= names.slots)
    entry_codes[event[known], slot[known], course[known].astype(np.int64) - 1] = 1.0


def _event_codes(cards: Cards, names: Names, observed: Bools) -> Floats:
    """The card's codes are known in every state, those of the observation (all but the grade) in that state only."""
    blocks = [
        np.where(observed[:, None] | (name == "grade"), _one_hot(cards.codes, {name: values}), 0.0)
        for name, values in names.codes.items()
    ]
    return np.concatenate([np.zeros((len(cards.events), 0)), *blocks], axis=1)


def _columns(frame: pd.DataFrame, names: tuple[str, ...]) -> Floats:
    """(rows, names), NaN for a column that is not there."""
    found: Floats = frame.reindex(columns=list(names)).to_numpy(np.float64, na_value=np.nan)
    return found


def _one_hot(frame: pd.DataFrame, classes: dict[str, tuple[str, ...]]) -> Floats:
    """(rows, classes in order); a value that training did not meet has no column."""
    blocks = [np.zeros((len(frame), 0))]
    for name, values in classes.items():
        found = frame[name].to_numpy(object) if name in frame.columns else np.full(len(frame), None, dtype=object)
        blocks.append((found[:, None] == np.array(values, dtype=object)[None, :]).astype(np.float64))
    return np.concatenate(blocks, axis=1)


def _scaled(values: Floats, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Floats:
    scaled: Floats = ((values - np.array(mean)) / np.array(deviation)).clip(-CLIP, CLIP)
    return np.where(np.isnan(scaled), 0.0, scaled)
