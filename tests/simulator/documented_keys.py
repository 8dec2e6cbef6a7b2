"""The keys of the real source's documents, as its documentation lists them, and helpers that read any document."""

from __future__ import annotations

from typing import Any

RACE = ("race_date", "race_stadium_number", "race_number")
WEATHER = (
    "race_wind",
    "race_wind_direction_number",
    "race_wave",
    "race_weather_number",
    "race_temperature",
    "race_water_temperature",
)
RACE_KEYS = {
    "programs": (*RACE, "race_closed_at", "race_grade_number", "race_title", "race_subtitle", "race_distance", "boats"),
    "previews": (*RACE, *WEATHER, "boats"),
    "results": (*RACE, *WEATHER, "race_technique_number", "boats", "payouts"),
}
ENTRY_KEYS = {
    "programs": (
        "racer_boat_number",
        "racer_name",
        "racer_number",
        "racer_class_number",
        "racer_branch_number",
        "racer_birthplace_number",
        "racer_age",
        "racer_weight",
        "racer_flying_count",
        "racer_late_count",
        "racer_average_start_timing",
        "racer_national_top_1_percent",
        "racer_national_top_2_percent",
        "racer_national_top_3_percent",
        "racer_local_top_1_percent",
        "racer_local_top_2_percent",
        "racer_local_top_3_percent",
        "racer_assigned_motor_number",
        "racer_assigned_motor_top_2_percent",
        "racer_assigned_motor_top_3_percent",
        "racer_assigned_boat_number",
        "racer_assigned_boat_top_2_percent",
        "racer_assigned_boat_top_3_percent",
    ),
    "previews": (
        "racer_boat_number",
        "racer_course_number",
        "racer_start_timing",
        "racer_weight",
        "racer_weight_adjustment",
        "racer_exhibition_time",
        "racer_tilt_adjustment",
    ),
    "results": (
        "racer_boat_number",
        "racer_course_number",
        "racer_start_timing",
        "racer_place_number",
        "racer_number",
        "racer_name",
    ),
}
PAYOUT_KEYS = ("trifecta", "trio", "exacta", "quinella", "quinella_place", "win", "place")


def boats_of(race: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a race, from a list or an object."""
    boats = race["boats"]
    return list(boats.values()) if isinstance(boats, dict) else boats


def kinds(races: list[dict[str, Any]]) -> dict[str, set[str]]:
    """For each field the JSON types seen in it."""
    types: dict[str, set[str]] = {}
    for race in races:
        for holder in (race, *boats_of(race)):
            for key, value in holder.items():
                types.setdefault(key, set()).add(type(value).__name__)
    return types
