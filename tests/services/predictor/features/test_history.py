"""What the history knows of past starts at each time, and that the order of its folds does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.data.events import EntryFacts, EventFacts
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.features.past import RELATION_NAMES
from services.predictor.features.tokens import TOKEN_NAMES
from tests.services.predictor.features.irregular_source import (
    DAY_US,
    FIRST_DAY,
    MINUTE_US,
    SYNTHETIC,
    arrays,
    event,
    placed_entries,
    season,
)
from tests.services.predictor.features.reading import encoding_of, entry_values, history_of

NOON = (FIRST_DAY + 10) * DAY_US
TRIO_ENTRIES = [EntryFacts(slot, f"synthetic:{slot}") for slot in (1, 2, 3)]


def upcoming(at_us: float = NOON, entries: list[EntryFacts] | None = None, **changes: object) -> EventFacts:
    """Listed at `at_us`; synthetic:1 to synthetic:3 in their slots by default."""
    event_entries = TRIO_ENTRIES if entries is None else entries
    return event("next", *event_entries, **{"status": "listed", "listed_us": at_us, "settled_us": None} | changes)  # type: ignore[arg-type]


def past(*places: float | None, at_us: float = NOON - DAY_US, **changes: object) -> EventFacts:
    return event(f"at {at_us}", *placed_entries(*places), at_us=at_us, **changes)


@pytest.mark.parametrize(("after_us", "starts"), [(0.0, 1), (1.0, 0), (-1.0, 1)])
def test_a_start_counts_from_the_instant_its_result_was_known(after_us: float, starts: int) -> None:
    history = history_of(arrays([past(1, 2, 3, at_us=NOON + after_us)]))

    assert entry_values(history, upcoming())["starts"][0] == np.log1p(starts)


@pytest.mark.parametrize("kind", ["void", "provisional", "listed"])
def test_only_settled_events_count(kind: str) -> None:
    history = history_of(arrays([past(1, 2, 3, status=kind)]))

    assert len(history) == 0
    assert entry_values(history, upcoming())["starts"].tolist()[:3] == [0, 0, 0]


@pytest.mark.parametrize(("code", "started"), [(14, True), (15, False), (16, False), (None, True)])
def test_place_codes_say_who_started_and_who_started_too_early(code: float | None, started: bool) -> None:
    coded = EntryFacts(1, "synthetic:1", code=code, course=1)
    history = history_of(arrays([event("a", coded, *placed_entries(1, 2, 3, first=1)[1:], at_us=NOON - DAY_US)]))

    features = entry_values(history, upcoming())

    assert features["starts"][0] == np.log1p(int(started))
    if started:
        assert (features["unplaced_60"][0] > 0, features["false_start_100"][0] > 0) == (True, code == 14)
    else:
        assert np.isnan(features["unplaced_60"][0])


def test_an_entry_without_place_and_course_did_not_start() -> None:
    history = history_of(
        arrays([event("a", EntryFacts(1, "synthetic:1"), *placed_entries(9, 1, 2)[1:], at_us=NOON - DAY_US)])
    )

    assert entry_values(history, upcoming())["starts"][:3].tolist() == [0, np.log1p(1), np.log1p(1)]


def test_an_event_with_one_starter_changes_no_rating() -> None:
    history = history_of(
        arrays([event("a", *placed_entries(1), EntryFacts(2, "synthetic:2", code=16), at_us=NOON - DAY_US)])
    )

    assert len(history) == 1
    assert np.isnan(entry_values(history, upcoming())["rating"][0])


def test_a_value_without_starts_is_unknown_and_not_zero() -> None:
    features = entry_values(history_of(arrays([past(1, 2)])), upcoming())

    assert np.isfinite([features["rating"][0], features["win_residual_8"][0]]).all()
    assert np.isnan([features["rating"][2], features["win_residual_8"][2], features["rest_days"][2]]).all()
    assert features["starts"][2] == 0.0
    assert np.isnan(features["starts"][3]), "slot 4 is empty"


def test_a_win_from_a_strong_lane_counts_less() -> None:
    before = [past(1, 2, 3, 4, 5, 6, at_us=NOON - (60 - day) * DAY_US) for day in range(20)]
    entries = [EntryFacts(1, "synthetic:71"), EntryFacts(6, "synthetic:76")]
    ends = {}
    for winner in (1, 6):
        places = [1.0 if slot == winner else 2.0 for slot in range(1, 7)]
        history = history_of(arrays([*before, event("x", *placed_entries(*places, first=71), at_us=NOON - DAY_US)]))
        ends[winner] = entry_values(history, upcoming(entries=entries))["win_residual_8"]

    assert 0 < ends[1][0] < ends[6][5]


def test_a_recent_win_weighs_more_than_an_old_one() -> None:
    def values_after(*places: float) -> dict[str, float]:
        days = [past(*(place, 7 - place), at_us=NOON - (99 - day) * DAY_US) for day, place in enumerate(places)]
        return {
            name: float(features[0]) for name, features in entry_values(history_of(arrays(days)), upcoming()).items()
        }

    up, down = values_after(*[6.0] * 8, *[1.0] * 8), values_after(*[1.0] * 8, *[6.0] * 8)

    assert up["win_residual_8"] - down["win_residual_8"] > up["win_residual_60"] - down["win_residual_60"] > 0


@pytest.mark.parametrize(
    ("changes", "same"),
    [({}, True), ({"venue": 2}, False), ({"session_title": "autumn"}, False), ({"at_us": NOON + 9 * DAY_US}, False)],
)
def test_a_meeting_is_its_title_at_its_venue_for_a_few_days(changes: dict[str, object], same: bool) -> None:
    features = entry_values(history_of(arrays([past(1, 2, 3)])), upcoming(**changes))  # type: ignore[arg-type]

    assert np.isfinite(features["meeting_beaten"][0]) == same


def test_equipment_is_identified_by_its_number_and_venue() -> None:
    entries = [each._replace(categories={"motor_number": 5 + each.slot}) for each in placed_entries(1, 2, 3)]
    history = history_of(arrays([event("a", *entries, at_us=NOON - DAY_US)]))
    lent = [EntryFacts(1, "synthetic:91", categories={"motor_number": 6}), EntryFacts(2, "synthetic:92")]

    here, elsewhere = (
        entry_values(history, upcoming(entries=lent)),
        entry_values(history, upcoming(entries=lent, venue=2)),
    )

    assert here["equipment_rating"][0] > 0
    assert here["equipment_starts"][0] == np.log1p(1)
    assert np.isnan([here["equipment_rating"][1], elsewhere["equipment_rating"][0]]).all()


def test_an_observation_after_the_result_is_ignored() -> None:
    def pace(observed_us: float) -> float:
        entries = [each._replace(observed={"lap_s": 6.5 + each.slot / 10}) for each in placed_entries(1, 2, 3)]
        at = NOON - DAY_US
        history = history_of(arrays([event("a", *entries, at_us=at, observed_us=at + observed_us)]))
        return float(entry_values(history, upcoming())["pace_lead_50"][0])

    assert pace(-MINUTE_US) < 0
    assert np.isnan(pace(MINUTE_US))


def test_past_starts_end_with_the_newest_and_have_their_relation_to_the_event() -> None:
    days = [past(place, 7 - place, at_us=NOON - days * DAY_US) for days, place in ((30, 1), (20, 5), (10, 1))]
    history = history_of(arrays([*days, past(2, 1, at_us=NOON + 1, venue=2)]))
    events = arrays([upcoming(), upcoming(venue=2)])

    inputs = inputs_of(events, history, encoding_of(events, history), "card")

    columns = [*TOKEN_NAMES, *RELATION_NAMES]
    won, since, venue, lane = (columns.index(name) for name in ("won", "days_since", "same_venue", "same_lane"))
    starts = inputs.starts[0, 0, -3:]
    assert inputs.started[0, 0].tolist() == [False] * 13 + [True] * 3
    assert starts[:, won].tolist() == [1, 0, 1]
    assert starts[:, since] == pytest.approx(np.log1p([30, 20, 10]) / 4)
    assert starts[:, venue].tolist() == starts[:, lane].tolist() == [1, 1, 1]
    assert inputs.starts[1, 0, -1, venue] == 0.0
    assert not inputs.starts[0, 0, :-3].any()


def test_a_venue_and_all_venues_together_are_kept_apart() -> None:
    """A source may number a venue 0."""
    for venue in (0, 1):
        history = history_of(arrays([past(1, 2, 3, venue=venue)]))
        assert len(history.stores.lanes) == 1 + 2 * 3
        assert entry_values(history, upcoming(venue=venue))["lane_win_rate"][0] == pytest.approx(
            entry_values(history_of(arrays([past(1, 2, 3)])), upcoming())["lane_win_rate"][0]
        )


def test_an_archive_without_events_is_an_empty_history() -> None:
    history = history_of(arrays([]))

    assert len(history) == 0
    assert inputs_of(arrays([]), history, encoding_of(arrays([upcoming()]), history), "card").hashes() == []


POOL = season(days=1, seed=5, venues=1, a_day=6)
VERSIONS = st.tuples(st.integers(0, len(POOL) - 1), st.integers(0, 3))


def version(which: int, how: int) -> EventFacts:
    """One version of the facts of an event."""
    event_facts = POOL[which]
    reversed_entries = [
        each._replace(place=None if each.place is None else 7 - each.place) for each in event_facts.entries
    ]
    return [
        event_facts,
        event_facts._replace(status="void", settled_us=None),
        event_facts._replace(entries=reversed_entries),
        event_facts._replace(status="settled", settled_us=POOL[0].settled_us),
    ][how]


@settings(max_examples=60)
@given(st.lists(st.lists(VERSIONS, min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_history_depends_only_on_the_newest_version_of_each_event(batches: list[list[tuple[int, int]]]) -> None:
    history = History(SYNTHETIC)
    last: dict[int, EventFacts] = {}
    for batch in batches:
        history.fold(arrays([version(*each) for each in batch]))
        last |= {which: version(which, how) for which, how in batch}
    expected = history_of(arrays(list(last.values())))

    events = arrays([each._replace(listed_us=NOON, observed_us=None, settled_us=None) for each in POOL])
    encoding = encoding_of(events, expected)
    assert len(history) == len(expected)
    assert (
        inputs_of(events, history, encoding, "card").hashes() == inputs_of(events, expected, encoding, "card").hashes()
    )
