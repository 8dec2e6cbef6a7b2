"""Records of events as arrays."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import EntryFacts, EventFacts, events_of


def event(key: str = "synthetic:2031-05-06:01:01", *entries: EntryFacts, **changes: object) -> EventFacts:
    fields = {"session_key": key[:-3], "day": 22_405, "venue": 1, "number": 1, "status": "listed"}
    return EventFacts(event_key=key, entries=entries, **(fields | changes))  # type: ignore[arg-type]


def test_a_slot_of_an_event_is_one_cell_of_each_array() -> None:
    entry = EntryFacts(
        3, "synthetic:9", {"weight_kg": 52.0}, {"class": 2}, 4, {"lap_s": 6.7}, 1, None, 5, 0.11, False, 160
    )

    events = events_of([event("a", EntryFacts(1)), event("b", entry, amount=1230)], 4)

    assert (len(events), events.slots) == (2, 4)
    assert events.occupied.tolist() == [[True, False, False, False], [False, False, True, False]]
    assert (events.entity[1, 2], events.categories["class"][1, 2]) == ("synthetic:9", "2")
    assert (events.measures["weight_kg"][1, 2], events.observed["lap_s"][1, 2]) == (52.0, 6.7)
    assert (events.observed_course[1, 2], events.course[1, 2], events.timing_s[1, 2]) == (4, 5, 0.11)
    assert (events.win_amount[1, 2], events.amount[1]) == (160, 1230)


def test_an_unknown_value_is_nan_or_none() -> None:
    events = events_of([event("a", EntryFacts(1, measures={"weight_kg": None}, categories={"class": None}))], 2)

    assert np.isnan([events.place[0, 0], events.measures["weight_kg"][0, 0], events.scheduled_us[0]]).all()
    assert (events.entity[0, 0], events.categories["class"][0, 0], events.title[0]) == (None, None, None)
    assert not events.refunded.any()


def test_a_name_that_only_some_events_have_is_unknown_in_the_others() -> None:
    events = events_of([event("a", conditions={"wind_m_s": 3.0}), event("b", conditions={"wave_cm": 2.0})], 2)

    assert np.array_equal(events.conditions["wind_m_s"], [3.0, np.nan], equal_nan=True)
    assert np.array_equal(events.conditions["wave_cm"], [np.nan, 2.0], equal_nan=True)


def test_entries_beyond_the_slots_are_left_out() -> None:
    events = events_of([event("a", EntryFacts(1), EntryFacts(3, "synthetic:9"))], 2)

    assert events.occupied.tolist() == [[True, False]]


def test_indexing_selects_rows_of_every_array() -> None:
    events = events_of([event(key, EntryFacts(slot, f"synthetic:{slot}")) for key, slot in (("a", 1), ("b", 2))], 2)

    for rows in (np.array([1]), np.array([False, True]), slice(1, 2)):
        subset = events[rows]
        assert (subset.event_key.tolist(), subset.entity[0, 1], len(subset)) == (["b"], "synthetic:2", 1)


def test_only_a_settled_event_that_one_entry_won_has_a_winner() -> None:
    def event_with_places(status: str, *places: float | None) -> EventFacts:
        return event("a", *(EntryFacts(slot, place=place) for slot, place in enumerate(places, 1)), status=status)

    events = events_of(
        [
            event_with_places("settled", 2, 1),
            event_with_places("settled", 1, 1),
            event_with_places("settled", None, None),
            event_with_places("provisional", 1, 2),
        ],
        2,
    )

    assert events.has_winner.tolist() == [True, False, False, False]
    assert events.winner[0] == 1


def test_a_prediction_is_as_of_the_newest_fact_it_may_use() -> None:
    events = events_of(
        [event("a", listed_us=10.0, observed_us=30.0), event("b", listed_us=40.0, observed_us=30.0), event("c")], 2
    )

    assert np.array_equal(events.as_of_us("card"), [10.0, 40.0, np.nan], equal_nan=True)
    assert np.array_equal(events.as_of_us("observation"), [30.0, 40.0, np.nan], equal_nan=True)


def test_no_events_make_empty_arrays() -> None:
    assert (len(events_of([], 6)), events_of([], 6).occupied.shape) == (0, (0, 6))
