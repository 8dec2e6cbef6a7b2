"""What the history remembers of starts, as of when, and that the order of its folds leaves no trace."""

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
from tests.services.predictor.features.pond import DAY_US, FIRST_DAY, MINUTE_US, POND, arrays, event, raced, season
from tests.services.predictor.features.reading import fitted, folded, told

NOON = (FIRST_DAY + 10) * DAY_US
TRIO_ENTRIES = [EntryFacts(slot, f"pond:{slot}") for slot in (1, 2, 3)]


def upcoming(at_us: float = NOON, entries: list[EntryFacts] | None = None, **given: object) -> EventFacts:
    """Listed at `at_us`; pond:1, pond:2 and pond:3 in their slots unless told otherwise."""
    chosen = TRIO_ENTRIES if entries is None else entries
    return event("next", *chosen, **{"status": "listed", "listed_us": at_us, "settled_us": None} | given)  # type: ignore[arg-type]


def past(*places: float | None, at_us: float = NOON - DAY_US, **given: object) -> EventFacts:
    return event(f"at {at_us}", *raced(*places), at_us=at_us, **given)


@pytest.mark.parametrize(("after_us", "starts"), [(0.0, 1), (1.0, 0), (-1.0, 1)])
def test_a_start_counts_from_the_instant_its_result_was_known(after_us: float, starts: int) -> None:
    history = folded(arrays([past(1, 2, 3, at_us=NOON + after_us)]))

    assert told(history, upcoming())["starts"][0] == np.log1p(starts)


@pytest.mark.parametrize("kind", ["void", "provisional", "listed"])
def test_only_what_settled_counts(kind: str) -> None:
    history = folded(arrays([past(1, 2, 3, status=kind)]))

    assert len(history) == 0
    assert told(history, upcoming())["starts"].tolist()[:3] == [0, 0, 0]


@pytest.mark.parametrize(("code", "started"), [(14, True), (15, False), (16, False), (None, True)])
def test_codes_say_who_started_and_who_started_too_early(code: float | None, started: bool) -> None:
    coded = EntryFacts(1, "pond:1", code=code, course=1)
    history = folded(arrays([event("a", coded, *raced(1, 2, 3, first=1)[1:], at_us=NOON - DAY_US)]))

    found = told(history, upcoming())

    assert found["starts"][0] == np.log1p(int(started))
    if started:
        assert (found["unplaced_60"][0] > 0, found["false_start_100"][0] > 0) == (True, code == 14)
    else:
        assert np.isnan(found["unplaced_60"][0])


def test_an_entry_without_place_and_course_did_not_start() -> None:
    history = folded(arrays([event("a", EntryFacts(1, "pond:1"), *raced(9, 1, 2)[1:], at_us=NOON - DAY_US)]))

    assert told(history, upcoming())["starts"][:3].tolist() == [0, np.log1p(1), np.log1p(1)]


def test_an_event_in_which_one_started_alone_says_nothing() -> None:
    history = folded(arrays([event("a", *raced(1), EntryFacts(2, "pond:2", code=16), at_us=NOON - DAY_US)]))

    assert len(history) == 1
    assert np.isnan(told(history, upcoming())["rating"][0])


def test_what_never_occurred_is_unknown_and_not_zero() -> None:
    found = told(folded(arrays([past(1, 2)])), upcoming())

    assert np.isfinite([found["rating"][0], found["win_residual_8"][0]]).all()
    assert np.isnan([found["rating"][2], found["win_residual_8"][2], found["rest_days"][2]]).all()
    assert found["starts"][2] == 0.0
    assert np.isnan(found["starts"][3]), "nobody is in slot 4"


def test_a_win_from_a_lane_that_wins_often_says_less() -> None:
    before = [past(1, 2, 3, 4, 5, 6, at_us=NOON - (60 - day) * DAY_US) for day in range(20)]
    entries = [EntryFacts(1, "pond:71"), EntryFacts(6, "pond:76")]
    ends = {}
    for winner in (1, 6):
        places = [1.0 if slot == winner else 2.0 for slot in range(1, 7)]
        history = folded(arrays([*before, event("x", *raced(*places, first=71), at_us=NOON - DAY_US)]))
        ends[winner] = told(history, upcoming(entries=entries))["win_residual_8"]

    assert 0 < ends[1][0] < ends[6][5]


def test_a_recent_win_weighs_more_than_an_old_one() -> None:
    def ended(*places: float) -> dict[str, float]:
        days = [past(*(place, 7 - place), at_us=NOON - (99 - day) * DAY_US) for day, place in enumerate(places)]
        return {name: float(found[0]) for name, found in told(folded(arrays(days)), upcoming()).items()}

    up, down = ended(*[6.0] * 8, *[1.0] * 8), ended(*[1.0] * 8, *[6.0] * 8)

    assert up["win_residual_8"] - down["win_residual_8"] > up["win_residual_60"] - down["win_residual_60"] > 0


@pytest.mark.parametrize(
    ("given", "same"),
    [({}, True), ({"venue": 2}, False), ({"session_title": "autumn"}, False), ({"at_us": NOON + 9 * DAY_US}, False)],
)
def test_a_meeting_is_its_title_at_its_venue_for_a_few_days(given: dict[str, object], same: bool) -> None:
    found = told(folded(arrays([past(1, 2, 3)])), upcoming(**given))  # type: ignore[arg-type]

    assert np.isfinite(found["meeting_beaten"][0]) == same


def test_equipment_is_known_by_its_name_at_its_venue() -> None:
    entries = [each._replace(categories={"motor_number": 5 + each.slot}) for each in raced(1, 2, 3)]
    history = folded(arrays([event("a", *entries, at_us=NOON - DAY_US)]))
    lent = [EntryFacts(1, "pond:91", categories={"motor_number": 6}), EntryFacts(2, "pond:92")]

    here, elsewhere = told(history, upcoming(entries=lent)), told(history, upcoming(entries=lent, venue=2))

    assert here["equipment_rating"][0] > 0
    assert here["equipment_starts"][0] == np.log1p(1)
    assert np.isnan([here["equipment_rating"][1], elsewhere["equipment_rating"][0]]).all()


def test_what_was_observed_after_the_result_is_not_learned_from() -> None:
    def pace(observed_us: float) -> float:
        entries = [each._replace(observed={"lap_s": 6.5 + each.slot / 10}) for each in raced(1, 2, 3)]
        at = NOON - DAY_US
        history = folded(arrays([event("a", *entries, at_us=at, observed_us=at + observed_us)]))
        return float(told(history, upcoming())["pace_lead_50"][0])

    assert pace(-MINUTE_US) < 0
    assert np.isnan(pace(MINUTE_US))


def test_past_starts_end_with_the_newest_and_say_how_they_stand_to_the_event() -> None:
    days = [past(place, 7 - place, at_us=NOON - days * DAY_US) for days, place in ((30, 1), (20, 5), (10, 1))]
    history = folded(arrays([*days, past(2, 1, at_us=NOON + 1, venue=2)]))
    events = arrays([upcoming(), upcoming(venue=2)])

    inputs = inputs_of(events, history, fitted(events, history), "card")

    columns = [*TOKEN_NAMES, *RELATION_NAMES]
    won, since, venue, lane = (columns.index(name) for name in ("won", "days_since", "same_venue", "same_lane"))
    starts = inputs.starts[0, 0, -3:]
    assert inputs.started[0, 0].tolist() == [False] * 13 + [True] * 3
    assert starts[:, won].tolist() == [1, 0, 1]
    assert starts[:, since] == pytest.approx(np.log1p([30, 20, 10]) / 4)
    assert starts[:, venue].tolist() == starts[:, lane].tolist() == [1, 1, 1]
    assert inputs.starts[1, 0, -1, venue] == 0.0
    assert not inputs.starts[0, 0, :-3].any()


def test_a_venue_and_all_venues_together_are_never_mixed_up() -> None:
    """Whatever number the source gives the venue."""
    for venue in (0, 1):
        history = folded(arrays([past(1, 2, 3, venue=venue)]))
        assert len(history.stores.lanes) == 1 + 2 * 3
        assert told(history, upcoming(venue=venue))["lane_win_rate"][0] == pytest.approx(
            told(folded(arrays([past(1, 2, 3)])), upcoming())["lane_win_rate"][0]
        )


def test_an_archive_without_events_is_an_empty_history() -> None:
    history = folded(arrays([]))

    assert len(history) == 0
    assert inputs_of(arrays([]), history, fitted(arrays([upcoming()]), history), "card").hashes() == []


POOL = season(days=1, seed=5, venues=1, a_day=6)
SAID = st.tuples(st.integers(0, len(POOL) - 1), st.integers(0, 3))


def version(which: int, how: int) -> EventFacts:
    """What is said of an event at one time."""
    found = POOL[which]
    turned = [each._replace(place=None if each.place is None else 7 - each.place) for each in found.entries]
    return [
        found,
        found._replace(status="void", settled_us=None),
        found._replace(entries=turned),
        found._replace(status="settled", settled_us=POOL[0].settled_us),
    ][how]


@settings(max_examples=60)
@given(st.lists(st.lists(SAID, min_size=1, max_size=4), min_size=1, max_size=5))
def test_however_results_came_the_history_is_that_of_what_was_said_last(said: list[list[tuple[int, int]]]) -> None:
    history = History(POND)
    last: dict[int, EventFacts] = {}
    for batch in said:
        history.fold(arrays([version(*each) for each in batch]))
        last |= {which: version(which, how) for which, how in batch}
    expected = folded(arrays(list(last.values())))

    events = arrays([each._replace(listed_us=NOON, observed_us=None, settled_us=None) for each in POOL])
    encoding = fitted(events, expected)
    assert len(history) == len(expected)
    assert (
        inputs_of(events, history, encoding, "card").hashes() == inputs_of(events, expected, encoding, "card").hashes()
    )
