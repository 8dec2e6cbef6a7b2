"""History features of entries as of an instant: ratings, running means, and the last starts one by one."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import DAY_US, Bools, Events, Floats, Floats32, Ints
from services.predictor.features.history import History
from services.predictor.features.rating import win_probabilities
from services.predictor.features.starts import equipment_of
from services.predictor.features.stores import (
    ENTITY_HEAD,
    HEAD,
    MEANS,
    PerComponent,
    ability_of,
    is_same_meeting,
    keys_of,
)
from services.predictor.features.tokens import TOKEN_NAMES
from services.predictor.features.versions import INITIAL_ROW

PAST_STARTS = 16
RELATION_NAMES = ("days_since", "same_venue", "same_meeting", "same_lane")
"""Values that follow TOKEN_NAMES in a token: they relate the past start to the event being encoded."""
# A start longer ago is not of the same meeting.
MEETING_DAYS = 8
# Events per block: what fits into the processor's cache is faster.
BLOCK_EVENTS = 256


def past_values(events: Events, history: History, lane: Ints, as_of_us: Floats) -> Floats:
    """(n, S, H), columns as names.HISTORY_VALUES; `lane` (n, S), `as_of_us` (n,)."""
    rows = _rows(events, history, lane, as_of_us)
    stores, head, entity_means = history.stores, len(ENTITY_HEAD), MEANS["entity"]
    entity, equipment = stores.entities.values[rows.entity], stores.equipment.values[rows.equipment]
    entity_lane = stores.entity_lanes.values[rows.entity_lane]
    entity_venue = stores.entity_venues.values[rows.entity_venue]
    meetings = history.meetings_of(events.venue, events.session_title)
    in_meeting = is_same_meeting(entity, meetings[:, None], as_of_us[:, None])
    meeting = MEANS["meeting"].read(entity[..., head + entity_means.width :])
    blocks = [
        _rating_values(events, history, rows, as_of_us),
        entity_means.read(entity[..., head : head + entity_means.width]),
        MEANS["lane"].read(entity_lane[..., len(HEAD) :]),
        MEANS["venue"].read(entity_venue[..., len(HEAD) :]),
        np.where(in_meeting[..., None], meeting, np.nan),
        MEANS["equipment"].read(equipment[..., len(HEAD) :]),
        history.lane_rates(rows.lane, rows.everywhere),
    ]
    return np.concatenate(blocks, axis=2)


def _rows(events: Events, history: History, lane: Ints, as_of_us: Floats) -> PerComponent:
    """Rows of each entry in the history's stores, as of each event's instant; (n, S) each."""
    shape = events.occupied.shape
    keys = keys_of(
        events.entity.ravel().tolist(),
        equipment_of(events, history.profile).ravel().tolist(),
        np.repeat(events.venue, shape[1]).tolist(),
        lane.ravel().tolist(),
    )
    when = np.repeat(as_of_us, shape[1]).tolist()
    rows = (store.as_of(of, when).reshape(shape) for store, of in zip(history.stores.by_component, keys, strict=True))
    return PerComponent(*rows)


def _rating_values(events: Events, history: History, rows: PerComponent, as_of_us: Floats) -> Floats:
    """(n, S, R), columns as names.RATING_VALUES."""
    stores = history.stores
    rating, starts, last_us, _ = np.moveaxis(stores.entities.values[rows.entity][..., : len(ENTITY_HEAD)], -1, 0)
    equipment = stores.equipment.values[rows.equipment]
    strength = history.strength(rows, ability_of(events, history.profile))
    has_history, rest_days = rows.entity != INITIAL_ROW, (as_of_us[:, None] - last_us) / DAY_US
    columns = [
        np.where(has_history, rating, np.nan),
        stores.entity_lanes.values[rows.entity_lane, 0],
        stores.entity_venues.values[rows.entity_venue, 0],
        np.where(rows.equipment != INITIAL_ROW, equipment[..., 0], np.nan),
        stores.lanes.values[rows.lane, 0] + stores.lanes.values[rows.everywhere, 0],
        strength,
        np.log(np.maximum(win_probabilities(strength, events.occupied), 1e-6)),
        np.log1p(starts),
        np.where(has_history, np.log1p(np.maximum(rest_days, 0.0)), np.nan),
        np.log1p(equipment[..., 1]),
    ]
    return np.stack(columns, axis=2)


def past_starts(events: Events, history: History, lane: Ints, as_of_us: Floats) -> tuple[Floats32, Bools]:
    """(n, S, H, T) tokens of the last starts, the newest last, and (n, S, H): which of them exist."""
    n, slots = events.occupied.shape
    rows = history.entities.last(events.entity.ravel().tolist(), np.repeat(as_of_us, slots).tolist(), PAST_STARTS)
    rows = rows.reshape(n, slots, PAST_STARTS)
    context = np.stack(
        [
            np.where(np.isfinite(as_of_us), as_of_us, 0.0),
            events.venue,
            history.meetings_of(events.venue, events.session_title),
        ],
        axis=1,
    )
    tokens = np.empty((*rows.shape, len(TOKEN_NAMES) + len(RELATION_NAMES)), dtype=np.float32)
    for first in range(0, n, BLOCK_EVENTS):
        some = slice(first, first + BLOCK_EVENTS)
        tokens[some, ..., : len(TOKEN_NAMES)] = history.starts[rows[some]]
        tokens[some, ..., len(TOKEN_NAMES) :] = _relations(history.tags[rows[some]], context[some], lane[some])
    tokens[rows == INITIAL_ROW] = 0.0
    return tokens, rows != INITIAL_ROW


def _relations(tags: Floats, context: Floats, lane: Ints) -> Floats:
    """(n, S, H, TAGS) of past starts, (n, 3) the event's as-of, venue and meeting -> (n, S, H, RELATION_NAMES)."""
    settled_us, of_venue, of_meeting, of_lane = np.moveaxis(tags, -1, 0)
    as_of_us, venue, meeting = context.T[:, :, None, None]
    days = (as_of_us - settled_us) / DAY_US
    columns = [
        np.log1p(np.maximum(days, 0.0)) / 4,
        of_venue == venue,
        (of_meeting == meeting) & (days <= MEETING_DAYS),
        of_lane == lane[:, :, None],
    ]
    return np.stack(columns, axis=-1)
