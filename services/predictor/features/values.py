"""What is known of each entry and event at an instant, as raw numbers: the card, the history, the observation. Pure.

As-of is strict: an event in state `card` sees its card and the history known when the card was; in state
`observation` also the observation, and the history known by then. Its own result's fields are never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np

from services.predictor.facts import DAY_US, Bools, Events, Floats, Floats32, Ints, State
from services.predictor.features.history import (
    ENTITY_HEAD,
    EQUIPMENT_HEAD,
    MEANS,
    PAIR_HEAD,
    History,
    Rows,
    ability_of,
    equipment_keys,
    keys_of,
    same_meeting,
)
from services.predictor.features.names import EVENT_NUMBERS, Names
from services.predictor.features.rating import chances
from services.predictor.features.relative import event_mean
from services.predictor.features.versions import NOTHING

PAST_STARTS = 16
READ = ("days_since", "same_venue", "same_meeting", "same_lane")
"""What a past start's token gets when it is read, behind TOKEN."""


@dataclass(frozen=True)
class Values:
    """Raw numbers, NaN for unknown: entry (n, S, K) in the order of Names.entry_values, event (n, J); one-hot codes.

    `lane` (n, S): the course where it was observed, else the slot. `starts` (n, S, H, T) with `started` (n, S, H).
    """

    entry: Floats
    entry_codes: Floats
    event: Floats
    event_codes: Floats
    taken: Bools
    venue: Ints
    lane: Ints
    course: Ints
    observed: Bools
    starts: Floats32
    started: Bools


def values_of(events: Events, history: History, names: Names, state: State) -> Values:
    """Each event as of its own instant (Events.as_of_us); one that has none is as of the beginning of time."""
    observed = np.isfinite(events.observed_us) & (state == "observation")
    as_of = np.where(observed, np.maximum(events.listed_us, events.observed_us), events.listed_us)
    as_of = np.where(np.isfinite(as_of), as_of, -np.inf)
    slot = np.broadcast_to(np.arange(1.0, events.slots + 1), events.taken.shape)
    course = np.where(observed[:, None], events.observed_course, np.nan)
    course = np.where((course >= 1) & (course <= events.slots), course, np.nan)
    lane = np.where(np.isnan(course), slot, course).astype(np.int64)
    rows = _rows(events, history, lane, as_of)
    past = _history_values(events, history, rows, as_of)
    card = _columns(events.measures, names.measures, events.taken.shape)
    seen = _observed_values(events, names, observed, course, past)
    entry = np.concatenate([card, past, seen], axis=2)
    entry[~events.taken] = np.nan
    starts, started = _starts(events, history, lane, as_of)
    return Values(
        entry=entry,
        entry_codes=_entry_codes(events, names),
        event=_event_values(events, names, observed),
        event_codes=_event_codes(events, names, observed),
        taken=events.taken,
        venue=names.venue_index(events.venue),
        lane=lane,
        course=np.where(np.isnan(course), 0, course).astype(np.int64),
        observed=observed,
        starts=starts,
        started=started,
    )


def _rows(events: Events, history: History, lane: Ints, as_of: Floats) -> Rows:
    """Where in the history's stores each entry's versions are, as of each event's instant; (n, S) each."""
    shape = events.taken.shape
    equipment = chain.from_iterable(equipment_keys(events, row, history.profile) for row in range(len(events)))
    keys = keys_of(
        events.entity.ravel().tolist(), list(equipment), np.repeat(events.venue, shape[1]).tolist(),
        lane.ravel().tolist(),
    )  # fmt: skip
    when = np.repeat(as_of, shape[1]).tolist()
    return Rows(*(store.as_of(of, when).reshape(shape) for store, of in zip(history.by_row, keys, strict=True)))


def _history_values(events: Events, history: History, rows: Rows, as_of: Floats) -> Floats:
    """(n, S, H), columns as names.HISTORY_VALUES."""
    entity = history.entities.values[rows.entity]
    equipment = history.equipment.values[rows.equipment]
    here, everywhere = history.lanes.values[rows.lane], history.lanes.values[rows.everywhere]
    entity_lane, entity_venue = (
        history.entity_lanes.values[rows.entity_lane],
        history.entity_venues.values[rows.entity_venue],
    )
    strength = history.strength(rows, ability_of(events, history.profile))
    chance = chances(strength, events.taken)
    known = rows.entity != NOTHING
    head, own = len(ENTITY_HEAD), MEANS["entity"]
    meetings = np.array(
        [history.meeting_of(int(venue), title) for venue, title in zip(events.venue, events.session_title, strict=True)],
        dtype=np.int64,
    )
    current = same_meeting(entity, meetings[:, None], as_of[:, None])
    meeting = MEANS["meeting"].read(entity[..., head + own.width :])
    rest = (as_of[:, None] - entity[..., 2]) / DAY_US
    blocks = [
        np.stack(
            [
                np.where(known, entity[..., 0], np.nan),
                entity_lane[..., 0],
                entity_venue[..., 0],
                np.where(rows.equipment != NOTHING, equipment[..., 0], np.nan),
                here[..., 0] + everywhere[..., 0],
                strength,
                np.log(np.maximum(chance, 1e-6)),
                np.log1p(entity[..., 1]),
                np.where(known, np.log1p(np.maximum(rest, 0.0)), np.nan),
                np.log1p(equipment[..., 1]),
            ],
            axis=2,
        ),
        own.read(entity[..., head : head + own.width]),
        MEANS["lane"].read(entity_lane[..., len(PAIR_HEAD) :]),
        MEANS["venue"].read(entity_venue[..., len(PAIR_HEAD) :]),
        np.where(current[..., None], meeting, np.nan),
        MEANS["equipment"].read(equipment[..., len(EQUIPMENT_HEAD) :]),
        history.lane_rates(rows.lane, rows.everywhere),
    ]
    return np.concatenate(blocks, axis=2)


def _observed_values(events: Events, names: Names, observed: Bools, course: Floats, past: Floats) -> Floats:
    """(n, S, O), columns as names.observed_values; NaN throughout where the event was not observed."""
    slot = np.arange(1.0, events.slots + 1)
    seen = _columns(events.observed, names.observed, events.taken.shape)
    blocks = [course, slot - course]
    history = names.history_values
    for measure, usual, relative in (
        (names.profile.pace, "pace_lead_50", True),
        (names.profile.timing, "timing_s_40", False),
    ):
        if measure in names.observed:
            found = np.clip(seen[..., names.observed.index(measure)], -100, 100)
            found = found - event_mean(found)[:, None] if relative else found
            blocks.append(np.clip(found, -0.5, 0.5) - np.nan_to_num(past[..., history.index(usual)]))
    block = np.concatenate([seen, np.stack(blocks, axis=2)], axis=2)
    return np.where(observed[:, None, None], block, np.nan)


def _starts(events: Events, history: History, lane: Ints, as_of: Floats) -> tuple[Floats32, Bools]:
    """(n, S, H, T) tokens of the last starts, the newest last, and (n, S, H) which there are."""
    n, slots = events.taken.shape
    rows = history.entities.last(events.entity.ravel().tolist(), np.repeat(as_of, slots).tolist(), PAST_STARTS)
    rows = rows.reshape(n, slots, PAST_STARTS)
    tags = history.tags[rows]
    meetings = np.array(
        [history.meeting_of(int(venue), title) for venue, title in zip(events.venue, events.session_title, strict=True)],
        dtype=np.float64,
    )
    days = (np.where(np.isfinite(as_of), as_of, 0.0)[:, None, None] - tags[..., 0]) / DAY_US
    read = np.stack(
        [
            np.log1p(np.maximum(days, 0.0)) / 4,
            tags[..., 1] == events.venue[:, None, None],
            (tags[..., 2] == meetings[:, None, None]) & (days <= 8),
            tags[..., 3] == lane[:, :, None],
        ],
        axis=3,
    )
    started = rows != NOTHING
    tokens = np.concatenate([history.starts[rows], read.astype(np.float32)], axis=3)
    tokens[~started] = 0.0
    return tokens, started


def _event_values(events: Events, names: Names, observed: Bools) -> Floats:
    """(n, J): what a recorded card holds of later than its own time is read once the event was observed."""
    columns = []
    for name in EVENT_NUMBERS:
        column = np.asarray(getattr(events, name), dtype=np.float64)
        columns.append(np.where(observed, column, np.nan) if name in names.profile.late else column)
    for name in names.conditions:
        found = events.conditions.get(name, np.full(len(events), np.nan))
        columns.append(np.where(observed, found, np.nan))
    return np.stack(columns, axis=1)


def _entry_codes(events: Events, names: Names) -> Floats:
    """(n, S, classes): a value that training did not meet has no column."""
    blocks = [np.zeros((*events.taken.shape, 0))]
    for name, known in names.categories.items():
        found = events.categories.get(name)
        if found is None:
            blocks.append(np.zeros((*events.taken.shape, len(known))))
        else:
            blocks.append((found[..., None] == np.array(known, dtype=object)).astype(np.float64))
    return np.concatenate(blocks, axis=2) * events.taken[..., None]


def _event_codes(events: Events, names: Names, observed: Bools) -> Floats:
    """(n, classes): the grade stands on the card, the other codes were observed."""
    blocks = [np.zeros((len(events), 0))]
    for name, known in names.codes.items():
        found = events.grade if name == "grade" else events.conditions.get(name, np.full(len(events), np.nan))
        hot = (found[:, None] == np.array(known)).astype(np.float64)
        blocks.append(hot if name == "grade" else hot * observed[:, None])
    return np.concatenate(blocks, axis=1)


def _columns(found: dict[str, Floats], names: tuple[str, ...], shape: tuple[int, ...]) -> Floats:
    """(n, S, names), NaN for a measure that is not there."""
    columns = [found.get(name, np.full(shape, np.nan)) for name in names]
    return np.stack(columns, axis=-1) if columns else np.zeros((*shape, 0))
