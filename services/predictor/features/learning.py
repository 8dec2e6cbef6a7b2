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
from services.predictor.features.rating import Pace, chances, expected_share, gradient, stages_of, steps
from services.predictor.features.relative import event_mean
from services.predictor.features.starts import Starts
from services.predictor.features.stores import ENTITY_HEAD, HEAD, MEANS, Rows, Stores, keys_of, same_meeting
from services.predictor.features.tokens import tokens_of
from services.predictor.features.versions import NOBODY, Allotted

PACES = Rows(
    entity=Pace(8.0, 0.35, 0.05),
    entity_lane=Pace(5.0, 0.03, 0.03),
    entity_venue=Pace(5.0, 0.02, 0.02),
    equipment=Pace(10.0, 0.10, 0.02),
    lane=Pace(60.0, 0.05, 0.004),
    everywhere=Pace(60.0, 0.05, 0.004),
    ability=0.0005,
)
"""Step sizes of the ratings; for `ability`, the step size of its weight."""


class Learned(NamedTuple):
    """`tokens` (n, S, TOKEN_NAMES) of the starts, `rows` (n, S): the row of each start in the entities' store, `added`
    (n, stores): the number of rows that each event added."""

    tokens: Floats32
    rows: Ints
    added: Ints


def learn(stores: Stores, starts: Starts, meetings: Ints) -> Learned:
    """Takes informative events (Starts.is_informative) in the history's order. `meetings` (n,): their numbers."""
    took = _allot(stores, starts)
    strength = _rate(stores, starts, took)
    outcome = _outcome(starts, strength)
    _remember(stores, "rates", took.lane, took.everywhere, said=outcome)
    rates = stores.lane_rates(took.lane.before, took.everywhere.before, starts.lane.shape[1])
    said = {**outcome, **_residuals(starts, outcome, rates)}
    _remember_entities(stores, starts, took.entity, said, meetings)
    said["pace_over_own"] = said["pace_lead"] - np.nan_to_num(_own(stores, took.entity.before, "pace_lead_50"))
    for name, part in (("lane", took.entity_lane), ("venue", took.entity_venue), ("equipment", took.equipment)):
        _remember(stores, name, part, said=said)
    rivals = event_mean(np.where(starts.started, strength, np.nan))
    return Learned(tokens_of(starts, said, rivals), took.entity.row, _added(took))


def _allot(stores: Stores, starts: Starts) -> Rows:
    """NewRows (n, S) per component. Only entries that started get new rows."""
    n, slots = starts.lane.shape
    there = starts.started.ravel().tolist()
    keys = keys_of(
        starts.entity.ravel().tolist(),
        starts.equipment.ravel().tolist(),
        np.repeat(starts.venue, slots).tolist(),
        starts.lane.ravel().tolist(),
    )
    lines = Rows(*(_lines(each, there, slots) for each in keys))
    known = starts.settled_us.tolist()
    entity, entity_lane, entity_venue, equipment = (
        store.extend(known, some) for store, some in zip(stores.each[:4], lines[:4], strict=True)
    )
    lanes = stores.lanes.extend(known, [one + other for one, other in zip(lines.lane, lines.everywhere, strict=True)])
    lane, everywhere = (Allotted(*(each[:, part] for each in lanes)) for part in np.split(np.arange(2 * slots), 2))
    ability = stores.ability.extend(known, [keys.ability[:1]] * n)
    return Rows(entity, entity_lane, entity_venue, equipment, lane, everywhere, ability)


def _lines(keys: list[Hashable], there: list[bool], slots: int) -> list[list[Hashable]]:
    """One list of keys per event; None for an entry that did not start."""
    shown = [key if part else None for key, part in zip(keys, there, strict=True)]
    return [shown[first : first + slots] for first in range(0, len(shown), slots)]


def _added(took: Rows) -> Ints:
    """(n, stores): rows added by each event. The two lane components share a store."""
    counts = Rows(*((part.row != NOBODY).sum(axis=1) for part in took))
    return np.stack([*counts[:4], counts.lane + counts.everywhere, counts.ability], axis=1)


def _rate(stores: Stores, starts: Starts, took: Rows) -> Floats:
    """(n, S): strength of the entries before each event. Writes the ratings after it to the stores."""
    parts = tuple(zip(stores.by_row[:-1], took[:-1], PACES[:-1], strict=True))
    counts = [store.values[part.root, HEAD.index("starts")] + part.depth for store, part, _ in parts]
    pace = np.stack([steps(count, each) for count, (_, _, each) in zip(counts, parts, strict=True)], axis=1)
    ledger = _Ledger([(store.values, part) for store, part, _ in parts])
    stages = stages_of(starts.place, starts.started)
    strength, summands = np.empty_like(starts.ability), np.empty((len(parts) + 1, starts.ability.shape[1]))
    weight, weights = float(stores.ability.values[took.ability.before[0, 0], 0]), []
    rows = zip(starts.ability, ledger.before, ledger.after, pace, *stages, strict=True)
    for event, (ability, before, after, step, taken, out, of_stage) in enumerate(rows):
        held = ledger.ratings[before]
        summands[0] = weight * ability
        summands[1:] = held
        strength[event] = np.add.reduce(summands, axis=0)
        pull = gradient(strength[event], taken, out, of_stage)
        ledger.ratings[after] = held + step * pull
        weight += PACES.ability * float((pull * ability).sum())
        weights.append(weight)
    for (store, part, _), count, ratings in zip(parts, counts, ledger.parts(), strict=True):
        there = part.row != NOBODY
        store.values[part.row[there], HEAD.index("rating")] = ratings[there]
        store.values[part.row[there], HEAD.index("starts")] = count[there] + 1
    stores.ability.values[took.ability.row[:, 0], 0] = weights
    return strength


class _Ledger:
    """The ratings that events touch, of all components in one array, so that an event reads and writes them at once.

    `before` and `after` (n, components, S) are indices into `ratings`. The last element takes the writes of entries
    without a row.
    """

    def __init__(self, parts: list[tuple[Floats, Allotted]]) -> None:
        known, before, after = [], [], []
        size = 0
        for values, part in parts:
            old, new = np.unique(part.root), part.row[part.row != NOBODY]
            fresh = size + len(old)
            root, own = size + np.searchsorted(old, part.root), fresh + np.searchsorted(new, part.before)
            before.append(np.where(part.depth == 0, root, own))
            after.append(np.where(part.row == NOBODY, -1, fresh + np.searchsorted(new, part.row)))
            known += [values[old, HEAD.index("rating")], np.zeros(len(new))]
            size = fresh + len(new)
        self.ratings = np.concatenate([*known, np.zeros(1)])
        self.before, self.after = np.stack(before, axis=1), np.stack(after, axis=1)

    def parts(self) -> list[Floats]:
        """(n, S) per component: the ratings after the events."""
        return list(self.ratings[self.after].swapaxes(0, 1))


def _outcome(starts: Starts, strength: Floats) -> dict[str, Floats]:
    """Quantities of the events themselves, by name, (n, S) each; NaN where undefined."""
    started, place = starts.started, starts.place
    expected = np.where(started, chances(strength, started), np.nan)
    beaten = beaten_share(place, started)
    won = _when(started, place == 1)
    technique = starts.technique[:, None]
    return {
        "won": won,
        "top3": _when(started, place <= 3),
        "beaten": beaten,
        "expected_win": expected,
        "beaten_residual": beaten - expected_share(strength, started),
        "win_over_rating": won - expected,
        "timing_s": starts.timing_s,
        "timing_lead_s": starts.timing_s - event_mean(starts.timing_s)[:, None],
        "pace_lead": np.clip(starts.pace - event_mean(starts.pace)[:, None], -0.5, 0.5),
        "course_gain": np.where(started, np.arange(1.0, place.shape[1] + 1) - starts.course, np.nan),
        "unplaced": _when(started, np.isnan(place)),
        "false_start": _when(started, starts.false_start),
        **{f"technique_{k}": _when(started, (place == 1) & (technique == k)) for k in (1, 2, 3, 4)},
    }


def _residuals(starts: Starts, outcome: Mapping[str, Floats], rates: Floats) -> dict[str, Floats]:
    """Quantities relative to the usual rates of the lanes (n, S, LANE)."""
    won = outcome["won"] - rates[..., 0]
    inner = starts.started & (starts.lane == 1)
    passed = np.isin(starts.technique, [3.0, 4.0])[:, None] & (starts.place != 1)
    return {
        "win_residual": won,
        "top3_residual": outcome["top3"] - rates[..., 1],
        "beaten_lane": outcome["beaten"] - rates[..., 2],
        "inner_won": np.where(inner, won, np.nan),
        "inner_passed": _when(inner, passed),
    }


def _remember(stores: Stores, name: str, *parts: Allotted, said: Mapping[str, Floats]) -> None:
    """Updates the running means that depend on `quantities` only."""
    store = {"lane": stores.entity_lanes, "venue": stores.entity_venues, "equipment": stores.equipment}
    values = store.get(name, stores.lanes).values[:, len(HEAD) :]
    means = MEANS[name]
    table = means.stacked(said).reshape(-1, len(means.traces))
    for part in parts:
        for rows, before, at in part.rounds():
            values[rows] = means.after(values[before], table[at])


def _remember_entities(
    stores: Stores, starts: Starts, part: Allotted, said: Mapping[str, Floats], meetings: Ints
) -> None:
    """Updates the entities' own means and those of their meeting. The timing spread uses the mean before the start."""
    own, meeting, values = MEANS["entity"], MEANS["meeting"], stores.entities.values
    first, middle = len(ENTITY_HEAD), len(ENTITY_HEAD) + own.width
    table = own.stacked({**said, "timing_spread_s": said["timing_s"]}).reshape(-1, len(own.traces))
    here = meeting.stacked(said).reshape(-1, len(meeting.traces))
    slots = starts.lane.shape[1]
    tags = np.stack([np.repeat(starts.settled_us, slots), np.repeat(meetings, slots)], axis=1)
    for rows, before, at in part.rounds():
        old, now = values[before], table[at]
        usual = own.read_one(old[:, first:middle], "timing_s_40")
        now[:, own.at("timing_spread_s_40")] = np.abs(now[:, own.at("timing_s_40")] - usual)
        values[rows, len(HEAD) : first] = tags[at]
        values[rows, first:middle] = own.after(old[:, first:middle], now)
        still = same_meeting(old, tags[at, 1], tags[at, 0])
        values[rows, middle:] = meeting.after(old[:, middle:] * still[:, None], here[at])


def _own(stores: Stores, rows: Ints, name: str) -> Floats:
    """(...): one of an entity's own running means."""
    first, own = len(ENTITY_HEAD), MEANS["entity"]
    return own.read_one(stores.entities.values[rows][..., first : first + own.width], name)


def _when(there: Bools, value: Bools) -> Floats:
    return np.where(there, np.where(value, 1.0, 0.0), np.nan)
