"""Recorded days give the same bits when they are read as they happened and as an archive."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from headrace.backtest.archive import read_archive
from services.predictor.data.events import STATES, EventFacts, Events, State, events_of
from services.predictor.data.profile import BOATRACE
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from tests.recorded_days import directory
from tests.services.cleaner.recorded import LAST
from tests.services.predictor.features.reading import encoding_of, hashes, history_of

pytestmark = pytest.mark.recorded
DAYS = 4


@pytest.fixture(scope="module")
def facts() -> list[EventFacts]:
    return read_archive(directory(), first=LAST - timedelta(days=DAYS - 1), last=LAST)


def events_from(facts: list[EventFacts]) -> Events:
    return events_of(facts, BOATRACE.slots)


def incremental_hashes(facts: list[EventFacts], encoding: Encoding) -> dict[State, dict[str, str]]:
    """Half an hour at a time: first its results are folded, then its cards and observations are read."""
    history, events = History(BOATRACE), events_from(facts)
    read: dict[State, dict[str, str]] = {state: {} for state in STATES}
    kinds = {"card": events.listed_us, "observation": events.observed_us}
    half_hours = [np.floor(each / 1.8e9) for each in (events.settled_us, *kinds.values())]
    for now in np.unique(np.concatenate(half_hours)[np.isfinite(np.concatenate(half_hours))]):
        history.fold(events[half_hours[0] == now])
        for state, instants in zip(STATES, half_hours[1:], strict=True):
            rows = np.flatnonzero(instants == now)
            if len(rows):
                upcoming = events_from([facts[row]._replace(status="listed", settled_us=None) for row in rows])
                read[state] |= hashes(upcoming, history, encoding, state)
    return read


def test_recorded_days_give_the_same_inputs_as_they_happened_and_as_an_archive(facts: list[EventFacts]) -> None:
    events = events_from(facts)
    history = history_of(events, BOATRACE)
    encoding = encoding_of(events, history)

    incremental = incremental_hashes(facts, encoding)

    observed = events.event_key[np.isfinite(events.observed_us)]
    archived = {state: hashes(events, history, encoding, state) for state in STATES}
    assert len(events) > 100 * DAYS
    assert len(history) > 0.9 * len(events)
    assert incremental["card"] == archived["card"]
    assert incremental["observation"] == {key: archived["observation"][key] for key in observed}


def test_changing_the_last_day_changes_no_input_before_it(facts: list[EventFacts]) -> None:
    """Its results are reversed, its measures doubled."""
    last = max(event.day for event in facts)
    changed = [
        event._replace(
            entries=[
                each._replace(
                    place=None if each.place is None else 7 - each.place,
                    measures={name: None if value is None else 2 * value for name, value in each.measures.items()},
                )
                for each in event.entries
            ]
        )
        if event.day == last
        else event
        for event in facts
    ]
    events, others = events_from(facts), events_from(changed)
    history, other_history = history_of(events, BOATRACE), history_of(others, BOATRACE)
    encoding = encoding_of(events, history)

    for state in STATES:
        before, after = hashes(events, history, encoding, state), hashes(others, other_history, encoding, state)
        same = np.array([before[key] == after[key] for key in events.event_key])
        assert same[events.day < last].all()
        assert not same[events.day == last].any()
