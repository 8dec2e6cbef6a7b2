"""Raw feature values of entries and events as of an instant: card, history and observation.

As-of is strict. In state `card` an event sees its card, and the history known when the card became known. In state
`observation` it also sees the observation, and the history known by then. Fields of its own result are never read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Bools, Events, Floats, Floats32, Ints, State
from services.predictor.features.history import History
from services.predictor.features.names import EVENT_NUMBERS, FeatureNames
from services.predictor.features.past import past_starts, past_values
from services.predictor.features.relative import event_mean


@dataclass(frozen=True)
class FeatureValues:
    """Raw numbers, NaN for unknown: entry (n, S, K) in the order of FeatureNames.entry_values, event (n, J). Codes are
    one-hot.

    `lane` (n, S): the observed course, else the slot. `starts` (n, S, H, T), those with `started` (n, S, H) exist.
    """

    entry: Floats
    entry_codes: Floats
    event: Floats
    event_codes: Floats
    occupied: Bools
    venue: Ints
    lane: Ints
    course: Ints
    observed: Bools
    starts: Floats32
    started: Bools


def feature_values(events: Events, history: History, names: FeatureNames, state: State) -> FeatureValues:
    """Each event as of its own instant (`as_of_instants`)."""
    observed = np.isfinite(events.observed_us) & (state == "observation")
    as_of = as_of_instants(events, state)
    slot = np.broadcast_to(np.arange(1.0, events.slots + 1), events.occupied.shape)
    course = np.where(observed[:, None], events.observed_course, np.nan)
    course = np.where((course >= 1) & (course <= events.slots), course, np.nan)
    lane = np.where(np.isnan(course), slot, course).astype(np.int64)
    past = past_values(events, history, lane, as_of)
    card = _columns(events.measures, names.measures, events.occupied.shape)
    observation = _observed_values(events, names, observed, course, past)
    entry = np.concatenate([card, past, observation], axis=2)
    entry[~events.occupied] = np.nan
    starts, started = past_starts(events, history, lane, as_of)
    return FeatureValues(
        entry=entry,
        entry_codes=_entry_codes(events, names),
        event=_event_values(events, names, observed),
        event_codes=_event_codes(events, names, observed),
        occupied=events.occupied,
        venue=names.venue_index(events.venue),
        lane=lane,
        course=np.where(np.isnan(course), 0, course).astype(np.int64),
        observed=observed,
        starts=starts,
        started=started,
    )


def as_of_instants(events: Events, state: State) -> Floats:
    """(n,) us: when the newest fact that is read of an event became known; -inf if it was never listed.

    Always before the event's own result: a card fetched after the result must not see it in the history.
    """
    observed = np.isfinite(events.observed_us) & (state == "observation")
    newest = np.where(observed, np.maximum(events.listed_us, events.observed_us), events.listed_us)
    newest = np.where(newest >= events.settled_us, np.nextafter(events.settled_us, -np.inf), newest)
    return np.where(np.isfinite(newest), newest, -np.inf)


def _observed_values(events: Events, names: FeatureNames, observed: Bools, course: Floats, past: Floats) -> Floats:
    """(n, S, O), columns as names.observed_values; all NaN where the event was not observed."""
    slot = np.arange(1.0, events.slots + 1)
    measured = _columns(events.observed, names.observed, events.occupied.shape)
    blocks = [course, slot - course]
    history = names.history_values
    for measure, usual, relative in (
        (names.profile.pace, "pace_lead_50", True),
        (names.profile.timing, "timing_s_40", False),
    ):
        if measure in names.observed:
            values = np.clip(measured[..., names.observed.index(measure)], -100, 100)
            values = values - event_mean(values)[:, None] if relative else values
            blocks.append(np.clip(values, -0.5, 0.5) - np.nan_to_num(past[..., history.index(usual)]))
    block = np.concatenate([measured, np.stack(blocks, axis=2)], axis=2)
    return np.where(observed[:, None, None], block, np.nan)


def _event_values(events: Events, names: FeatureNames, observed: Bools) -> Floats:
    """(n, J). Late fields (Profile.late) are read only once the event was observed."""
    columns = []
    for name in EVENT_NUMBERS:
        column = np.asarray(getattr(events, name), dtype=np.float64)
        columns.append(np.where(observed, column, np.nan) if name in names.profile.late else column)
    for name in names.conditions:
        values = events.conditions.get(name, np.full(len(events), np.nan))
        columns.append(np.where(observed, values, np.nan))
    return np.stack(columns, axis=1)


def _entry_codes(events: Events, names: FeatureNames) -> Floats:
    """(n, S, classes). A value unseen in training has no column."""
    blocks = [np.zeros((*events.occupied.shape, 0))]
    for name, known in names.categories.items():
        values = events.categories.get(name)
        if values is None:
            blocks.append(np.zeros((*events.occupied.shape, len(known))))
        else:
            blocks.append((values[..., None] == np.array(known, dtype=object)).astype(np.float64))
    return np.concatenate(blocks, axis=2) * events.occupied[..., None]


def _event_codes(events: Events, names: FeatureNames, observed: Bools) -> Floats:
    """(n, classes). The grade is on the card; the other codes are observed."""
    blocks = [np.zeros((len(events), 0))]
    for name, known in names.codes.items():
        values = events.grade if name == "grade" else events.conditions.get(name, np.full(len(events), np.nan))
        hot = (values[:, None] == np.array(known)).astype(np.float64)
        blocks.append(hot if name == "grade" else hot * observed[:, None])
    return np.concatenate(blocks, axis=1)


def _columns(values: dict[str, Floats], names: tuple[str, ...], shape: tuple[int, ...]) -> Floats:
    """(n, S, names), NaN for a missing measure."""
    columns = [values.get(name, np.full(shape, np.nan)) for name in names]
    return np.stack(columns, axis=-1) if columns else np.zeros((*shape, 0))
