"""Observations from the previews feed and its irregularities, with synthetic races."""

from typing import Any

import pytest

from services.cleaner.clean import Filtered, clean
from shared.errors import InvalidEvent
from shared.events import Observed
from tests.services.cleaner.synthetic_slices import (
    NO_WEATHER,
    PUBLISHED_AT,
    blank_preview_boat,
    preview,
    preview_boat,
    raw,
)


def observed(**changes: Any) -> Observed:
    fact = clean(raw("previews", preview(**changes)))
    assert isinstance(fact, Observed)
    return fact


def with_boat(number: int, **changes: Any) -> list[dict[str, Any]]:
    return [preview_boat(n, **(changes if n == number else {})) for n in range(1, 7)]


def test_a_preview_becomes_a_complete_fact() -> None:
    fact = observed()

    assert fact.conditions.model_dump() == {
        "weather": 1,
        "wind_m_s": 3,
        "wind_direction": 5,
        "wave_cm": 2,
        "air_temperature_c": 18.5,
        "water_temperature_c": 17,
    }
    assert [(entry.slot, entry.course) for entry in fact.entries] == [(slot, slot) for slot in range(1, 7)]
    assert fact.entries[0].measures == {
        "exhibition_time_s": 6.78,
        "exhibition_start_timing_s": 0.08,
        "weight_kg": 52.5,
        "weight_adjustment_kg": 0,
        "tilt_deg": -0.5,
    }


def test_boats_may_be_an_array_or_an_object() -> None:
    boats = [preview_boat(number) for number in range(1, 7)]

    assert observed(boats=boats) == observed(boats={str(boat["racer_boat_number"]): boat for boat in boats})


def test_entries_are_in_the_order_of_their_slots() -> None:
    assert observed(boats=[preview_boat(number) for number in (3, 1, 2, 6, 5, 4)]) == observed()


def test_boat_zero_is_no_boat() -> None:
    phantom = {"racer_boat_number": 0, "racer_course_number": 6, "racer_start_timing": None}

    assert observed(boats=[phantom, *with_boat(1)]) == observed()


def test_an_exhibition_time_of_zero_is_unknown() -> None:
    measures = observed(boats=with_boat(2, racer_exhibition_time=0)).entries[1].measures

    assert "exhibition_time_s" not in measures
    assert measures["weight_adjustment_kg"] == 0


def test_a_boat_that_was_not_weighed_has_neither_weight_nor_ballast_nor_tilt() -> None:
    entry = observed(boats=[*with_boat(6)[:5], blank_preview_boat(6)]).entries[5]

    assert (entry.course, entry.measures) == (None, {})


def test_an_unknown_exhibition_start_stays_unknown_beside_its_course() -> None:
    entry = observed(boats=with_boat(2, racer_start_timing=None)).entries[1]

    assert entry.course == 2
    assert "exhibition_start_timing_s" not in entry.measures


def test_a_start_timing_of_zero_is_a_start_on_the_signal() -> None:
    entry = observed(boats=with_boat(2, racer_start_timing=0)).entries[1]

    assert entry.measures["exhibition_start_timing_s"] == 0


PLACEHOLDER = {
    "race_wind": 0,
    "race_wind_direction_number": None,
    "race_wave": 0,
    "race_weather_number": 2,
    "race_temperature": 0,
    "race_water_temperature": 0,
}


def test_placeholder_weather_leaves_the_weather_code_only() -> None:
    assert observed(**PLACEHOLDER).conditions.model_dump(exclude_none=True) == {"weather": 2}


def test_zeros_with_a_wind_direction_are_weather() -> None:
    conditions = observed(**(PLACEHOLDER | {"race_wind_direction_number": 17})).conditions

    assert (conditions.wind_m_s, conditions.wave_cm, conditions.air_temperature_c) == (0, 0, 0)


def test_an_unknown_wind_direction_leaves_the_rest_of_the_weather() -> None:
    conditions = observed(race_wind_direction_number=None).conditions

    assert (conditions.wind_direction, conditions.wind_m_s, conditions.water_temperature_c) == (None, 3, 17)


@pytest.mark.parametrize(
    "weather", [NO_WEATHER, PLACEHOLDER | {"race_weather_number": None}], ids=["null", "placeholder"]
)
def test_a_preview_that_measured_nothing_is_filtered(weather: dict[str, Any]) -> None:
    body = preview(boats=[blank_preview_boat(number) for number in range(1, 7)], **weather)

    assert clean(raw("previews", body)) == Filtered("nothing observed yet")


def test_null_boats_beside_weather_become_six_empty_entries() -> None:
    fact = observed(boats=[blank_preview_boat(number) for number in range(1, 7)])

    assert [(entry.slot, entry.course, entry.measures) for entry in fact.entries] == [
        (slot, None, {}) for slot in range(1, 7)
    ]


def test_a_live_preview_is_known_since_it_was_published() -> None:
    assert (observed().known_at, observed().known_after_s) == (PUBLISHED_AT, None)


def test_an_archived_preview_counts_as_known_at_the_deadline() -> None:
    fact = clean(raw("previews", preview(), historical=True))

    assert isinstance(fact, Observed)
    assert (fact.known_at, fact.known_after_s) == (None, 0)


IMPOSSIBLE = {
    "a negative wave": {"race_wave": -1},
    "an impossible wind": {"race_wind": 900},
    "a direction beyond the last": {"race_wind_direction_number": 18},
    "boiling water": {"race_water_temperature": 100},
    "weather with a fraction": {"race_weather_number": 1.5},
    "an exhibition of 900 s": {"boats": with_boat(2, racer_exhibition_time=900)},
    "an exhibition of half a second": {"boats": with_boat(2, racer_exhibition_time=0.5)},
    "a weight of five tons": {"boats": with_boat(2, racer_weight=5000)},
    "a weight of 5 kg": {"boats": with_boat(2, racer_weight=5)},
    "course seven": {"boats": with_boat(2, racer_course_number=7)},
    "a boat under another's key": {"boats": dict(zip("213456", with_boat(1), strict=True))},
    "seven boats": {"boats": [*with_boat(1), preview_boat(7)]},
}


@pytest.mark.parametrize("changes", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_preview_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match=r"^previews of .*expected .*, got "):
        clean(raw("previews", preview(**changes)))
