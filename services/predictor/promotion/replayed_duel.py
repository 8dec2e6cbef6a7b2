"""Compares two models on settled events: both predict each event again, from what was known before it.

Nothing is refitted. The history holds all results, because it can be read as of any instant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.predictor.data.events import STATES, Bools, EventFacts, Events, Floats, Ints, State, events_of, fitting
from services.predictor.data.instants import day_number
from services.predictor.data.profile import Profile, source_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.model.interface import Model
from services.predictor.registry.gate import Duel, Judged


def walked(duel: Duel, settled: Sequence[EventFacts], profile: Profile, candidate: Model, live: Model) -> list[Judged]:
    """The newest first, each event in the state with the most knowledge before its start. `settled`: all settled
    events."""
    by_source: dict[str, list[EventFacts]] = {}
    for event in fitting(settled, profile.slots):
        by_source.setdefault(source_of(event.event_key), []).append(event)
    found: list[tuple[float, Judged]] = []
    for each in by_source.values():
        events = events_of(each, profile.slots)
        history = History(profile)
        history.fold(events)
        for state, rows in _rows(events, duel).items():
            found += _judged(events[rows], history, state, candidate, live)
    found.sort(key=lambda each: (-each[0], each[1].event_key))
    return [judged for _, judged in found[: duel.most]]


def _rows(events: Events, duel: Duel) -> dict[State, Ints]:
    """By state: the newest events after the comparison's day with one winner whose card was known in time."""
    in_time = {state: _in_time(events, state) for state in STATES}
    wanted = events.has_winner & (events.day > day_number(duel.after)) & in_time["card"]
    newest = np.flatnonzero(wanted)[np.argsort(-events.settled_us[wanted], kind="stable")][: duel.most]
    seen = in_time["observation"][newest]
    return {"card": newest[~seen].astype(np.int64), "observation": newest[seen].astype(np.int64)}


def _in_time(events: Events, state: State) -> Bools:
    as_of = events.as_of_us(state)
    return np.isfinite(as_of) & (as_of <= events.scheduled_us)


def _judged(
    events: Events, history: History, state: State, candidate: Model, live: Model
) -> list[tuple[float, Judged]]:
    """Each with the instant of its settlement, in microseconds since 1970."""
    if not len(events):
        return []
    told = [
        model.probabilities(inputs_of(events, history, model.description.encoding, state)).win
        for model in (candidate, live)
    ]
    return [
        (float(events.settled_us[row]), _one(events, row, told[0][row], told[1][row]))
        for row in range(len(events))
        if events.taken[row, events.winner[row]]
    ]


def _one(events: Events, row: int, candidate: Floats, live: Floats) -> Judged:
    slots = np.flatnonzero(events.taken[row])
    return Judged(
        event_key=str(events.event_key[row]),
        cluster=f"{events.day[row]} {events.venue[row]}",
        winner=int(np.flatnonzero(slots == events.winner[row])[0]),
        candidate=tuple(candidate[slots].tolist()),
        live=tuple(live[slots].tolist()),
    )
