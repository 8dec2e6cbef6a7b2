"""Compares two models on settled events: both predict each event again, from what was known before it.

Nothing is refitted. The history holds all results, because it can be read as of any instant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.predictor.data.events import (
    STATES,
    Bools,
    EventFacts,
    Events,
    Floats,
    Ints,
    State,
    events_of,
    supported_events,
)
from services.predictor.data.instants import day_number
from services.predictor.data.profile import Profile, source_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.model.interface import Model
from services.predictor.registry.gate import Comparison, PairedForecast


def replayed_duel(
    comparison: Comparison, settled: Sequence[EventFacts], profile: Profile, challenger: Model, champion: Model
) -> list[PairedForecast]:
    """The newest first, each event in the state with the most knowledge before its start. `settled`: all settled
    events."""
    by_source: dict[str, list[EventFacts]] = {}
    for event in supported_events(settled, profile.slots):
        by_source.setdefault(source_of(event.event_key), []).append(event)
    results: list[tuple[float, PairedForecast]] = []
    for each in by_source.values():
        events = events_of(each, profile.slots)
        history = History(profile)
        history.fold(events)
        for state, rows in _rows(events, comparison).items():
            results += _replay(events[rows], history, state, challenger, champion)
    results.sort(key=lambda each: (-each[0], each[1].event_key))
    return [pair for _, pair in results[: comparison.most]]


def _rows(events: Events, comparison: Comparison) -> dict[State, Ints]:
    """By state: the newest events after the comparison's day with one winner whose card was known in time."""
    in_time = {state: _in_time(events, state) for state in STATES}
    eligible = events.has_winner & (events.day > day_number(comparison.after)) & in_time["card"]
    newest = np.flatnonzero(eligible)[np.argsort(-events.settled_us[eligible], kind="stable")][: comparison.most]
    observed = in_time["observation"][newest]
    return {"card": newest[~observed].astype(np.int64), "observation": newest[observed].astype(np.int64)}


def _in_time(events: Events, state: State) -> Bools:
    as_of = events.as_of_us(state)
    return np.isfinite(as_of) & (as_of <= events.scheduled_us)


def _replay(
    events: Events, history: History, state: State, challenger: Model, champion: Model
) -> list[tuple[float, PairedForecast]]:
    """Each with the instant of its settlement, in microseconds since 1970."""
    if not len(events):
        return []
    probabilities = [
        model.probabilities(inputs_of(events, history, model.description.encoding, state)).win
        for model in (challenger, champion)
    ]
    return [
        (float(events.settled_us[row]), _paired_forecast(events, row, probabilities[0][row], probabilities[1][row]))
        for row in range(len(events))
        if events.occupied[row, events.winner[row]]
    ]


def _paired_forecast(events: Events, row: int, challenger: Floats, champion: Floats) -> PairedForecast:
    slots = np.flatnonzero(events.occupied[row])
    return PairedForecast(
        event_key=str(events.event_key[row]),
        cluster=f"{events.day[row]} {events.venue[row]}",
        winner=int(np.flatnonzero(slots == events.winner[row])[0]),
        challenger=tuple(challenger[slots].tolist()),
        champion=tuple(champion[slots].tolist()),
    )
