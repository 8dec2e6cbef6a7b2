"""Cards from the programs feed and its irregularities, with synthetic races."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.cleaner.clean import clean
from shared.errors import InvalidEvent
from shared.events import Listed
from tests.services.cleaner.synthetic_slices import DAY, FETCHED_AT, PUBLISHED_AT, card, card_boat, null_boat, raw


def listed(**changes: Any) -> Listed:
    fact = clean(raw("programs", card(**changes)))
    assert isinstance(fact, Listed)
    return fact


def with_boat(number: int, **changes: Any) -> list[dict[str, Any]]:
    return [card_boat(n, **(changes if n == number else {})) for n in range(1, 7)]


def test_a_card_becomes_a_complete_fact() -> None:
    fact = listed()

    assert (fact.session.session_key, fact.session.venue, fact.session.grade) == (f"boatrace:{DAY}:07", 7, 5)
    assert (fact.number, fact.session.title, fact.title, fact.distance_m) == (4, "第1回 試験杯", "予選", 1800)
    assert [entry.slot for entry in fact.entries] == [1, 2, 3, 4, 5, 6]


def test_the_measures_of_an_entry_have_units_in_their_names() -> None:
    entry = listed().entries[1]

    assert entry.measures == {
        "weight_kg": 52,
        "age_years": 31,
        "flying_count": 0,
        "late_count": 0,
        "average_start_timing_s": 0.16,
        "national_points": 5.51,
        "national_top2_percent": 33.25,
        "national_top3_percent": 51,
        "local_points": 6,
        "local_top2_percent": 40.5,
        "local_top3_percent": 60.75,
        "motor_top2_percent": 35.5,
        "motor_top3_percent": 50.5,
        "hull_top2_percent": 31.25,
        "hull_top3_percent": 47,
    }
    assert entry.categories == {"class": 2, "motor_number": 32, "hull_number": 62}


def test_an_entity_has_a_key_a_name_and_its_categories() -> None:
    entity = listed().entries[1].entity

    assert entity is not None
    assert (entity.entity_key, entity.name) == ("boatrace:7002", "試験 2郎")
    assert entity.categories == {"class": 2, "branch": 13, "birthplace": 40}


def test_whole_numbers_become_floats() -> None:
    measures = listed(boats=with_boat(1, racer_weight=52)).entries[0].measures

    assert {type(value) for value in measures.values()} == {float}


def test_a_deadline_in_japanese_time_becomes_utc() -> None:
    assert listed().scheduled_at == datetime(2031, 5, 6, 3, 34, tzinfo=UTC)


def test_two_spaces_in_a_title_become_one() -> None:
    assert listed(race_title="第1回  試験杯").session.title == "第1回 試験杯"


@pytest.mark.parametrize("place", ["national", "local"])
def test_zero_points_and_shares_mean_that_there_is_no_record(place: str) -> None:
    zeros = {f"racer_{place}_top_{rank}_percent": 0 for rank in (1, 2, 3)}

    measures = listed(boats=with_boat(3, **zeros)).entries[2].measures

    assert not {f"{place}_points", f"{place}_top2_percent", f"{place}_top3_percent"} & measures.keys()


@pytest.mark.parametrize(("key", "name"), [("motor", "motor"), ("boat", "hull")])
def test_zero_shares_of_a_motor_or_hull_mean_that_there_is_no_record(key: str, name: str) -> None:
    zeros = {f"racer_assigned_{key}_top_{rank}_percent": 0 for rank in (2, 3)}

    measures = listed(boats=with_boat(3, **zeros)).entries[2].measures

    assert not {f"{name}_top2_percent", f"{name}_top3_percent"} & measures.keys()


def test_a_zero_share_beside_points_is_a_fact() -> None:
    never_placed = {"racer_local_top_1_percent": 2.5, "racer_local_top_2_percent": 0, "racer_local_top_3_percent": 0}

    measures = listed(boats=with_boat(3, **never_placed)).entries[2].measures

    assert (measures["local_points"], measures["local_top2_percent"], measures["local_top3_percent"]) == (2.5, 0, 0)


def test_a_null_mean_start_timing_is_no_measure() -> None:
    entry = listed(boats=with_boat(3, racer_average_start_timing=None)).entries[2]

    assert "average_start_timing_s" not in entry.measures


def test_a_card_whose_entries_turned_null_keeps_its_race_and_six_empty_entries() -> None:
    fact = listed(boats=[null_boat(card_boat(number)) for number in range(1, 7)])

    assert fact.scheduled_at is not None
    assert [(e.slot, e.entity, e.measures, e.categories) for e in fact.entries] == [
        (slot, None, {}, {}) for slot in range(1, 7)
    ]
    assert fact.card_key is None


def test_a_card_whose_race_turned_null_keeps_its_entries() -> None:
    lost = dict.fromkeys(("race_closed_at", "race_grade_number", "race_title", "race_subtitle", "race_distance"))

    fact = listed(**lost)

    assert (fact.scheduled_at, fact.title, fact.distance_m, fact.session.title) == (None, None, None, None)
    assert all(entry.entity for entry in fact.entries)


def test_a_postponed_card_has_the_same_card_key_on_another_date() -> None:
    later = card(race_date="2031-05-07", race_closed_at="2031-05-07 12:40:00")

    fact = clean(raw("programs", later, event_key="boatrace:2031-05-07:07:04"))

    assert isinstance(fact, Listed)
    assert fact.card_key == listed().card_key is not None


@pytest.mark.parametrize(
    "other",
    [{"race_title": "第2回 試験杯"}, {"boats": with_boat(6, racer_number=7999)}],
    ids=["another meeting", "another racer"],
)
def test_another_card_has_another_card_key(other: dict[str, Any]) -> None:
    assert listed(**other).card_key != listed().card_key


def test_a_card_with_an_unknown_racer_has_no_card_key() -> None:
    assert listed(boats=with_boat(6, racer_number=0)).card_key is None


def test_a_live_card_is_known_since_it_was_published() -> None:
    fact = listed()

    assert (fact.known_at, fact.known_after_s) == (PUBLISHED_AT, None)


def test_a_live_card_of_unknown_publication_is_known_since_it_was_fetched() -> None:
    fact = clean(raw("programs", card(), published_at=None))

    assert isinstance(fact, Listed)
    assert fact.known_at == FETCHED_AT


def test_an_archived_card_is_known_from_the_start_of_its_japanese_day() -> None:
    fact = clean(raw("programs", card(), historical=True))

    assert isinstance(fact, Listed)
    assert fact.known_at == datetime(2031, 5, 5, 15, tzinfo=UTC)


IMPOSSIBLE = {
    "another day": {"race_date": "2031-05-07"},
    "another venue": {"race_stadium_number": 8},
    "another number": {"race_number": 5},
    "a venue beyond the last": {"race_stadium_number": 25},
    "no date": {"race_date": "someday"},
    "a date in another format": {"race_date": "20310506"},
    "a date that is no text": {"race_date": 20310506},
    "a deadline on another day": {"race_closed_at": "2031-05-07 12:34:00"},
    "a deadline in another format": {"race_closed_at": "12:34"},
    "a deadline at hour 25": {"race_closed_at": f"{DAY} 25:00:00"},
    "a grade beyond the last": {"race_grade_number": 6},
    "a distance of zero": {"race_distance": 0},
    "a title that is a number": {"race_title": 7},
    "a title that no database can hold": {"race_title": "試験\x00杯"},
    "a title with a lone surrogate": {"race_title": "試験\ud83d杯"},
    "boats that are a text": {"boats": "six"},
    "boats that are missing": {"boats": None},
    "a boat that is a number": {"boats": [1, 2, 3, 4, 5, 6]},
    "five boats": {"boats": [card_boat(number) for number in range(1, 6)]},
    "a boat twice": {"boats": [card_boat(number) for number in (1, 2, 3, 4, 5, 5)]},
    "slot nine": {"boats": with_boat(6, racer_boat_number=9)},
    "a slot that is a text": {"boats": with_boat(6, racer_boat_number="6")},
    "a racer that is a text": {"boats": with_boat(6, racer_number="7006")},
    "a negative racer": {"boats": with_boat(6, racer_number=-1)},
    "a weight of five tons": {"boats": with_boat(6, racer_weight=5000)},
    "a weight that is true": {"boats": with_boat(6, racer_weight=True)},
    "a weight that is a text": {"boats": with_boat(6, racer_weight="52.0")},
    "a share above 100 %": {"boats": with_boat(6, racer_local_top_2_percent=100.5)},
    "a class with a fraction": {"boats": with_boat(6, racer_class_number=2.5)},
}


@pytest.mark.parametrize("changes", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_card_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match=r"^programs of boatrace:2031-05-06:07:04: .*expected .*, got "):
        clean(raw("programs", card(**changes)))


def test_a_missing_field_is_named() -> None:
    body = card()
    del body["boats"][4]["racer_age"]

    with pytest.raises(InvalidEvent, match="expected the field 'racer_age'"):
        clean(raw("programs", body))


def test_an_error_never_contains_the_whole_input() -> None:
    with pytest.raises(InvalidEvent) as caught:
        clean(raw("programs", card(race_title=["long"] * 10_000, race_subtitle="x" * 10_000)))

    assert len(str(caught.value)) < 300
