"""The documents have the real source's format and satisfy its invariants, also with many anomalies."""

from __future__ import annotations

import json
from datetime import date
from itertools import combinations
from typing import Any

import pytest

from simulator.documents import FEEDS, RaceStage, document, final_stage, preview, program, result
from simulator.races import Race, RaceStatus
from tests.simulator.documented_keys import ENTRY_KEYS, PAYOUT_KEYS, RACE_KEYS, boats_of

pytestmark = pytest.mark.slow
MAKERS = {"programs": program, "previews": preview, "results": result}
Json = dict[str, Any]


def finals(feed: str, races: list[Race]) -> list[Json]:
    return [MAKERS[feed](race, final_stage(feed, race)) for race in races]


@pytest.fixture(scope="module")
def results(odd_races: list[Race]) -> list[Json]:
    return finals("results", odd_races)


@pytest.fixture(scope="module")
def previews(odd_races: list[Race]) -> list[Json]:
    return finals("previews", odd_races)


def placed_boats(race: Json) -> list[Json]:
    """Entries with a place, best first."""
    finished = [b for b in race["boats"] if b["racer_place_number"] is not None and b["racer_place_number"] <= 6]
    return sorted(finished, key=lambda boat: int(boat["racer_place_number"]))


@pytest.mark.parametrize("feed", FEEDS)
def test_a_document_is_compact_ascii_json_of_its_feed(feed: str, odd_races: list[Race]) -> None:
    races = odd_races[:48]

    body = document(feed, [(race, final_stage(feed, race)) for race in races])

    assert body.isascii()
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()
    assert list(json.loads(body)) == [feed]
    assert [(r["race_stadium_number"], r["race_number"]) for r in json.loads(body)[feed]] == [
        (venue, number) for venue in (3, 9, 15, 21) for number in range(1, 13)
    ]


@pytest.mark.parametrize("feed", FEEDS)
def test_every_race_and_entry_has_the_documented_keys_in_order(feed: str, odd_races: list[Race]) -> None:
    for race in finals(feed, odd_races):
        assert tuple(race) == RACE_KEYS[feed]
        for boat in boats_of(race):
            if boat["racer_boat_number"] != 0:
                assert tuple(boat) == ENTRY_KEYS[feed]


def test_numbers_have_no_point_when_whole(odd_races: list[Race]) -> None:
    for feed in FEEDS:
        for race in finals(feed, odd_races[:480]):
            values = [*race.values(), *(value for boat in boats_of(race) for value in boat.values())]
            assert not [value for value in values if isinstance(value, float) and value.is_integer()]


def test_programs_and_results_hold_six_boats_in_order(results: list[Json], odd_races: list[Race]) -> None:
    for race in (*results, *finals("programs", odd_races)):
        assert isinstance(race["boats"], list)
        assert [boat["racer_boat_number"] for boat in race["boats"]] == [1, 2, 3, 4, 5, 6]


def test_previews_hold_an_object_by_boat_or_sometimes_a_list_with_a_boat_zero(previews: list[Json]) -> None:
    lists = [race for race in previews if isinstance(race["boats"], list)]

    assert lists
    for race in previews:
        if isinstance(race["boats"], dict):
            assert list(race["boats"]) == ["1", "2", "3", "4", "5", "6"]
    for race in lists:
        assert [boat["racer_boat_number"] for boat in race["boats"]] == list(range(7))
        assert tuple(race["boats"][0]) == ("racer_boat_number", "racer_course_number", "racer_start_timing")


def test_places_follow_competition_ranking(results: list[Json]) -> None:
    for race in results:
        places = [boat["racer_place_number"] for boat in placed_boats(race)]
        assert places == [1 + sum(other < place for other in places) for place in places]


def test_courses_are_distinct_and_without_gap(results: list[Json], previews: list[Json]) -> None:
    for race in results:
        courses = [boat["racer_course_number"] for boat in race["boats"] if boat["racer_course_number"] is not None]
        assert sorted(courses) == list(range(1, len(courses) + 1))


def test_a_start_timing_is_negative_exactly_for_false_starts(results: list[Json]) -> None:
    boats = [boat for race in results for boat in race["boats"]]
    early = [boat["racer_place_number"] == 14 for boat in boats]

    assert sum(early) > 100
    for boat, false_start in zip(boats, early, strict=True):
        timing = boat["racer_start_timing"]
        assert (timing is not None and timing < 0) == false_start or boat["racer_place_number"] is None


def test_late_and_absent_boats_have_no_timing_and_absent_ones_no_course_and_no_lap(
    results: list[Json], previews: list[Json]
) -> None:
    seen = 0
    for race, previewed in zip(results, previews, strict=True):
        laps = {boat["racer_boat_number"]: boat.get("racer_exhibition_time") for boat in boats_of(previewed)}
        for boat in race["boats"]:
            if boat["racer_place_number"] in {15, 16}:
                assert boat["racer_start_timing"] is None
            if boat["racer_place_number"] == 16:
                seen += 1
                assert boat["racer_course_number"] is None
                assert laps[boat["racer_boat_number"]] == 0
    assert seen > 100


def test_every_payout_agrees_with_the_places(results: list[Json]) -> None:
    """Computed from the published fields only, independently of the simulator."""
    for race in results:
        place = {boat["racer_boat_number"]: boat["racer_place_number"] for boat in placed_boats(race)}
        for market, rows in race["payouts"].items():
            for row in rows:
                selection = [int(part) for part in row["combination"].replace("=", "-").split("-")]
                ranks = sorted(place[boat] for boat in selection)
                best = sorted(place.values())
                if market in {"trifecta", "exacta", "win"}:
                    assert [place[boat] for boat in selection] == best[: len(selection)]
                elif market in {"trio", "quinella"}:
                    assert ranks == best[: len(selection)]
                else:
                    assert ranks[-1] <= best[min(len(best), 3 if market == "quinella_place" else 2) - 1]
                if "=" in row["combination"]:
                    assert selection == sorted(selection)
                assert row["payout"] >= 100
                assert row["payout"] % 10 == 0


def test_no_market_pays_more_rows_than_its_places_allow(results: list[Json]) -> None:
    for race in results:
        order = placed_boats(race)
        if len({boat["racer_place_number"] for boat in order}) == len(order):
            pairs = len(list(combinations(order[:3], 2)))
            most = dict.fromkeys(PAYOUT_KEYS, 1) | {"place": 2, "quinella_place": pairs}
            assert all(len(race["payouts"][market]) <= most[market] for market in PAYOUT_KEYS)
        if not order:
            assert not any(race["payouts"].values())


def test_payout_rows_are_sometimes_missing(results: list[Json]) -> None:
    whole = [race for race in results if len(placed_boats(race)) == 6]
    short = [race for race in whole if len(race["payouts"]["place"]) < 2]

    assert short
    assert all(len(race["payouts"]["trifecta"]) >= 1 for race in whole)


def test_wind_is_zero_exactly_when_the_direction_is_calm(results: list[Json]) -> None:
    run = [race for race in results if race["race_wind"] is not None]

    assert any(race["race_wind"] == 0 for race in run)
    assert all((race["race_wind"] == 0) == (race["race_wind_direction_number"] == 17) for race in run)


def test_a_winner_who_led_from_the_start_was_in_the_first_course(results: list[Json]) -> None:
    led = [race for race in results if race["race_technique_number"] == 1]

    assert led
    assert all(placed_boats(race)[0]["racer_course_number"] == 1 for race in led)


def test_a_race_without_result_has_only_its_key(results: list[Json], odd_races: list[Race]) -> None:
    silent = [r for r, race in zip(results, odd_races, strict=True) if race.status is not RaceStatus.RUN]

    assert silent
    for race in silent:
        assert {race[key] for key in RACE_KEYS["results"][3:10]} == {None}
        assert not any(race["payouts"].values())
        assert {boat["racer_place_number"] for boat in race["boats"]} == {None}


def test_a_void_race_has_codes_but_neither_technique_nor_payouts(results: list[Json], odd_races: list[Race]) -> None:
    void = [r for r, race in zip(results, odd_races, strict=True) if race.finish.void and race.status is RaceStatus.RUN]

    assert void
    for race in void:
        assert race["race_technique_number"] is None
        assert race["race_wind"] is not None
        assert not placed_boats(race)
        assert not any(race["payouts"].values())
        assert None not in {boat["racer_name"] for boat in race["boats"]}


def test_the_preview_of_a_race_called_off_is_a_placeholder(previews: list[Json], odd_races: list[Race]) -> None:
    called_off = [p for p, race in zip(previews, odd_races, strict=True) if race.status is RaceStatus.CALLED_OFF]

    assert called_off
    for race in called_off:
        assert race["race_wind_direction_number"] is None
        assert {race[key] for key in ("race_wind", "race_wave", "race_temperature", "race_water_temperature")} == {0}
        assert {boat["racer_course_number"] for boat in boats_of(race)} == {None}


def test_the_first_preview_of_a_venue_called_off_later_lost_its_weather_only(
    previews: list[Json], odd_races: list[Race]
) -> None:
    blanked = [p for p, race in zip(previews, odd_races, strict=True) if race.preview_blanked]

    assert blanked
    for race in blanked:
        assert race["race_number"] == 1
        assert race["race_wind_direction_number"] is None
        assert any(boat["racer_exhibition_time"] for boat in boats_of(race))


def test_the_final_program_has_the_measured_weight(odd_races: list[Race], previews: list[Json]) -> None:
    for race, previewed in zip(finals("programs", odd_races), previews, strict=True):
        listed = {boat["racer_boat_number"]: boat["racer_weight"] for boat in race["boats"]}
        for boat in boats_of(previewed):
            if boat.get("racer_weight"):
                assert boat["racer_weight"] == listed[boat["racer_boat_number"]]


def test_a_blank_card_keeps_the_race_and_the_boat_numbers(odd_races: list[Race]) -> None:
    listed, blank = program(odd_races[0], RaceStage.LISTED), program(odd_races[0], RaceStage.BLANK)

    assert {**listed, "boats": None} == {**blank, "boats": None}
    for boat, entry in enumerate(blank["boats"], start=1):
        assert tuple(entry) == ENTRY_KEYS["programs"]
        assert entry.pop("racer_boat_number") == boat
        assert set(entry.values()) == {None}


def test_a_half_published_page_numbers_some_racers_zero(odd_races: list[Race]) -> None:
    for race in odd_races[:24]:
        numbers = [boat["racer_number"] for boat in result(race, RaceStage.NUMBERLESS)["boats"]]
        assert 0 in numbers
        assert set(numbers) <= {0, None}


def test_a_misread_result_differs_from_the_right_one_in_one_timing(odd_races: list[Race]) -> None:
    race = next(race for race in odd_races if race.finish.placed_count == 6)
    misread, right = result(race, RaceStage.MISREAD), result(race, RaceStage.SETTLED)

    pairs = zip(misread.pop("boats"), right.pop("boats"), strict=True)
    differing = [(a, b) for a, b in pairs if a != b]

    assert misread == right
    assert len(differing) == 1
    assert {key for key in differing[0][0] if differing[0][0][key] != differing[0][1][key]} == {"racer_start_timing"}


def test_the_deadline_lies_on_the_race_day_and_ends_with_zero_seconds(odd_races: list[Race]) -> None:
    for race in finals("programs", odd_races):
        day, time = race["race_closed_at"].split(" ")
        assert day == race["race_date"] == date.fromisoformat(day).isoformat()
        assert time.endswith(":00")
