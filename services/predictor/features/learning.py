"""Updates the history with settled events: ratings event by event, running means of all keys at once.

The result is that of folding one event at a time, to the bit: independent updates are batched, dependent updates keep
their order.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats, Floats32, Ints
from services.predictor.features.form import beaten_share
from services.predictor.features.rating import (
    StepSchedule,
    expected_share,
    gradient,
    stages_of,
    step_sizes,
    win_probabilities,
)
from services.predictor.features.relative import event_mean
from services.predictor.features.starts import Starts
from services.predictor.features.stores import ENTITY_HEAD, HEAD, MEANS, PerComponent, Stores, is_same_meeting, keys_of
from services.predictor.features.tokens import tokens_of
from services.predictor.features.versions import NO_ROW, NewRows

STEP_SCHEDULES = PerComponent(
    entity=StepSchedule(8.0, 0.35, 0.05),
    entity_lane=StepSchedule(5.0, 0.03, 0.03),
    entity_venue=StepSchedule(5.0, 0.02, 0.02),
    equipment=StepSchedule(10.0, 0.10, 0.02),
    lane=StepSchedule(60.0, 0.05, 0.004),
    everywhere=StepSchedule(60.0, 0.05, 0.004),
    ability=0.0005,
)
"""Step sizes of the ratings; for `ability`, the step size of its weight."""


class FoldResult(NamedTuple):
    """`tokens` (n, S, TOKEN_NAMES) of the starts, `rows` (n, S): the row of each start in the entities' store, `added`
    (n, stores): the number of rows that each event added."""

    tokens: Floats32
    rows: Ints
    added_rows: Ints


def learn(stores: Stores, starts: Starts, meetings: Ints) -> FoldResult:
    """Takes informative events (Starts.is_informative) in the history's order. `meetings` (n,): their numbers."""
    new_rows = _add_rows(stores, starts)
    strength = _update_ratings(stores, starts, new_rows)
    outcome_quantities = _outcome_quantities(starts, strength)
    _update_means(stores, "rates", new_rows.lane, new_rows.everywhere, quantities=outcome_quantities)
    rates = stores.lane_rates(new_rows.lane.before, new_rows.everywhere.before, starts.lane.shape[1])
    quantities = {**outcome_quantities, **_residual_quantities(starts, outcome_quantities, rates)}
    _update_entity_means(stores, starts, new_rows.entity, quantities, meetings)
    quantities["pace_over_own"] = quantities["pace_lead"] - np.nan_to_num(
        _entity_mean(stores, new_rows.entity.before, "pace_lead_50")
    )
    for name, part in (
        ("lane", new_rows.entity_lane),
        ("venue", new_rows.entity_venue),
        ("equipment", new_rows.equipment),
    ):
        _update_means(stores, name, part, quantities=quantities)
    rivals = event_mean(np.where(starts.started, strength, np.nan))
    return FoldResult(tokens_of(starts, quantities, rivals), new_rows.entity.row, _added_rows(new_rows))


def _add_rows(stores: Stores, starts: Starts) -> PerComponent:
    """NewRows (n, S) per component. Only entries that started get new rows."""
    n, slots = starts.lane.shape
    started = starts.started.ravel().tolist()
    keys = keys_of(
        starts.entity.ravel().tolist(),
        starts.equipment.ravel().tolist(),
        np.repeat(starts.venue, slots).tolist(),
        starts.lane.ravel().tolist(),
    )
    lines = PerComponent(*(_keys_by_event(each, started, slots) for each in keys))
    known = starts.settled_us.tolist()
    entity, entity_lane, entity_venue, equipment = (
        store.extend(known, some) for store, some in zip(stores.all_stores[:4], lines[:4], strict=True)
    )
    lanes = stores.lanes.extend(known, [one + other for one, other in zip(lines.lane, lines.everywhere, strict=True)])
    lane, everywhere = (NewRows(*(each[:, part] for each in lanes)) for part in np.split(np.arange(2 * slots), 2))
    ability = stores.ability.extend(known, [keys.ability[:1]] * n)
    return PerComponent(entity, entity_lane, entity_venue, equipment, lane, everywhere, ability)


def _keys_by_event(keys: list[Hashable], started: list[bool], slots: int) -> list[list[Hashable]]:
    """One list of keys per event; None for an entry that did not start."""
    masked_keys = [key if part else None for key, part in zip(keys, started, strict=True)]
    return [masked_keys[first : first + slots] for first in range(0, len(masked_keys), slots)]


def _added_rows(new_rows: PerComponent) -> Ints:
    """(n, stores): rows added by each event. The two lane components share a store."""
    counts = PerComponent(*((part.row != NO_ROW).sum(axis=1) for part in new_rows))
    return np.stack([*counts[:4], counts.lane + counts.everywhere, counts.ability], axis=1)


def _update_ratings(stores: Stores, starts: Starts, new_rows: PerComponent) -> Floats:
    """(n, S): strength of the entries before each event. Writes the ratings after it to the stores."""
    parts = tuple(zip(stores.by_component[:-1], new_rows[:-1], STEP_SCHEDULES[:-1], strict=True))
    counts = [store.values[part.root, HEAD.index("starts")] + part.depth for store, part, _ in parts]
    pace = np.stack([step_sizes(count, each) for count, (_, _, each) in zip(counts, parts, strict=True)], axis=1)
    table = _RatingTable([(store.values, part) for store, part, _ in parts])
    stages = stages_of(starts.place, starts.started)
    strength, summands = np.empty_like(starts.ability), np.empty((len(parts) + 1, starts.ability.shape[1]))
    weight, weights = float(stores.ability.values[new_rows.ability.before[0, 0], 0]), []
    rows = zip(starts.ability, table.before, table.after, pace, *stages, strict=True)
    for event, (ability, before, after, step, placed, mask, of_stage) in enumerate(rows):
        current = table.ratings[before]
        summands[0] = weight * ability
        summands[1:] = current
        strength[event] = np.add.reduce(summands, axis=0)
        pull = gradient(strength[event], placed, mask, of_stage)
        table.ratings[after] = current + step * pull
        weight += STEP_SCHEDULES.ability * float((pull * ability).sum())
        weights.append(weight)
    for (store, part, _), count, ratings in zip(parts, counts, table.final_ratings(), strict=True):
        has_row = part.row != NO_ROW
        store.values[part.row[has_row], HEAD.index("rating")] = ratings[has_row]
        store.values[part.row[has_row], HEAD.index("starts")] = count[has_row] + 1
    stores.ability.values[new_rows.ability.row[:, 0], 0] = weights
    return strength


class _RatingTable:
    """The ratings that events touch, of all components in one array, so that an event reads and writes them at once.

    `before` and `after` (n, components, S) are indices into `ratings`. The last element takes the writes of entries
    without a row.
    """

    def __init__(self, parts: list[tuple[Floats, NewRows]]) -> None:
        blocks, before, after = [], [], []
        size = 0
        for values, part in parts:
            root_rows, added_rows = np.unique(part.root), part.row[part.row != NO_ROW]
            added_start = size + len(root_rows)
            root, added_index = (
                size + np.searchsorted(root_rows, part.root),
                added_start + np.searchsorted(added_rows, part.before),
            )
            before.append(np.where(part.depth == 0, root, added_index))
            after.append(np.where(part.row == NO_ROW, -1, added_start + np.searchsorted(added_rows, part.row)))
            blocks += [values[root_rows, HEAD.index("rating")], np.zeros(len(added_rows))]
            size = added_start + len(added_rows)
        self.ratings = np.concatenate([*blocks, np.zeros(1)])
        self.before, self.after = np.stack(before, axis=1), np.stack(after, axis=1)

    def final_ratings(self) -> list[Floats]:
        """(n, S) per component: the ratings after the events."""
        return list(self.ratings[self.after].swapaxes(0, 1))


def _outcome_quantities(starts: Starts, strength: Floats) -> dict[str, Floats]:
    """Quantities of the events themselves, by name, (n, S) each; NaN where undefined."""
    started, place = starts.started, starts.place
    expected = np.where(started, win_probabilities(strength, started), np.nan)
    beaten = beaten_share(place, started)
    won = _indicator(started, place == 1)
    technique = starts.technique[:, None]
    return {
        "won": won,
        "top3": _indicator(started, place <= 3),
        "beaten": beaten,
        "expected_win": expected,
        "beaten_residual": beaten - expected_share(strength, started),
        "win_over_rating": won - expected,
        "timing_s": starts.timing_s,
        "timing_lead_s": starts.timing_s - event_mean(starts.timing_s)[:, None],
        "pace_lead": np.clip(starts.pace - event_mean(starts.pace)[:, None], -0.5, 0.5),
        "course_gain": np.where(started, np.arange(1.0, place.shape[1] + 1) - starts.course, np.nan),
        "unplaced": _indicator(started, np.isnan(place)),
        "false_start": _indicator(started, starts.false_start),
        **{f"technique_{k}": _indicator(started, (place == 1) & (technique == k)) for k in (1, 2, 3, 4)},
    }


def _residual_quantities(starts: Starts, outcome: Mapping[str, Floats], rates: Floats) -> dict[str, Floats]:
    """Quantities relative to the usual rates of the lanes (n, S, LANE)."""
    won = outcome["won"] - rates[..., 0]
    inner = starts.started & (starts.lane == 1)
    passed = np.isin(starts.technique, [3.0, 4.0])[:, None] & (starts.place != 1)
    return {
        "win_residual": won,
        "top3_residual": outcome["top3"] - rates[..., 1],
        "beaten_lane": outcome["beaten"] - rates[..., 2],
        "inner_won": np.where(inner, won, np.nan),
        "inner_passed": _indicator(inner, passed),
    }


def _update_means(stores: Stores, name: str, *parts: NewRows, quantities: Mapping[str, Floats]) -> None:
    """Updates the running means that depend on `quantities` only."""
    store = {"lane": stores.entity_lanes, "venue": stores.entity_venues, "equipment": stores.equipment}
    values = store.get(name, stores.lanes).values[:, len(HEAD) :]
    means = MEANS[name]
    table = means.stack(quantities).reshape(-1, len(means.means))
    for part in parts:
        for rows, before, at in part.rounds():
            values[rows] = means.update(values[before], table[at])


def _update_entity_means(
    stores: Stores, starts: Starts, part: NewRows, quantities: Mapping[str, Floats], meetings: Ints
) -> None:
    """Updates the entities' own means and those of their meeting. The timing spread uses the mean before the start."""
    own, meeting, values = MEANS["entity"], MEANS["meeting"], stores.entities.values
    first, middle = len(ENTITY_HEAD), len(ENTITY_HEAD) + own.width
    table = own.stack({**quantities, "timing_spread_s": quantities["timing_s"]}).reshape(-1, len(own.means))
    meeting_table = meeting.stack(quantities).reshape(-1, len(meeting.means))
    slots = starts.lane.shape[1]
    tags = np.stack([np.repeat(starts.settled_us, slots), np.repeat(meetings, slots)], axis=1)
    for rows, before, at in part.rounds():
        previous, current = values[before], table[at]
        usual = own.read_one(previous[:, first:middle], "timing_s_40")
        current[:, own.column_of("timing_spread_s_40")] = np.abs(current[:, own.column_of("timing_s_40")] - usual)
        values[rows, len(HEAD) : first] = tags[at]
        values[rows, first:middle] = own.update(previous[:, first:middle], current)
        same = is_same_meeting(previous, tags[at, 1], tags[at, 0])
        values[rows, middle:] = meeting.update(previous[:, middle:] * same[:, None], meeting_table[at])


def _entity_mean(stores: Stores, rows: Ints, name: str) -> Floats:
    """(...): one of an entity's own running means."""
    first, own = len(ENTITY_HEAD), MEANS["entity"]
    return own.read_one(stores.entities.values[rows][..., first : first + own.width], name)


def _indicator(defined: Bools, condition: Bools) -> Floats:
    return np.where(defined, np.where(condition, 1.0, 0.0), np.nan)
