"""Renders documents in the real source's v2 format, for each stage of a race in each feed.

Compact JSON, ASCII only, no final newline, whole numbers without a decimal point. A race that was called off, or whose
page was never read again, ends at its `final_stage`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from typing import Any

from simulator.payouts import MARKETS
from simulator.races import Exhibition, Race, RaceEntry, RaceStatus, Weather

Document = dict[str, Any]
FEEDS = ("programs", "previews", "results")


class RaceStage(Enum):
    """What a feed shows of a race at one time. The comments name the feeds that have the stage."""

    EMPTY = "empty"  # previews: placeholders; results: nulls
    LISTED = "listed"  # programs: the card as first published
    UPDATED = "updated"  # programs: measured weights, final deadline and distance
    BLANK = "blank"  # programs: every entry field temporarily null
    WEIGHED = "weighed"  # previews: weights and weather, no exhibition yet
    OBSERVED = "observed"  # previews: complete
    WEATHERLESS = "weatherless"  # previews: complete, but read again and its weather blanked
    CALLED_OFF = "called_off"  # previews: placeholders, except the kind of weather
    NUMBERLESS = "numberless"  # results: a half-published page, some racer numbers 0
    BOAT_ZERO = "boat_zero"  # results: empty, except for a boat 0
    PAID_UNPLACED = "paid_unplaced"  # results: payouts before places
    PLACED = "placed"  # results: places, no payouts
    MISREAD = "misread"  # results: complete, with one value that is corrected later
    SETTLED = "settled"  # results: complete


def final_stage(feed: str, race: Race) -> RaceStage:
    """The stage in the dated file of a past day."""
    if feed == "programs":
        return RaceStage.UPDATED
    if feed == "previews":
        run = RaceStage.WEATHERLESS if race.preview_blanked else RaceStage.OBSERVED
        return RaceStage.CALLED_OFF if race.status is RaceStatus.CALLED_OFF else run
    return {RaceStatus.CALLED_OFF: RaceStage.EMPTY, RaceStatus.HALF_PUBLISHED: RaceStage.NUMBERLESS}.get(
        race.status, RaceStage.SETTLED
    )


def document(feed: str, races: Iterable[tuple[Race, RaceStage]]) -> bytes:
    render = {"programs": program, "previews": preview, "results": result}[feed]
    return encode({feed: [render(race, stage) for race, stage in races]})


def encode(content: Document) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def _key(race: Race) -> Document:
    return {"race_date": race.day.isoformat(), "race_stadium_number": race.venue, "race_number": race.number}


def program(race: Race, stage: RaceStage) -> Document:
    updated = stage is RaceStage.UPDATED
    deadline_min = race.deadline_min if updated else race.listed_deadline_min
    return {
        **_key(race),
        "race_closed_at": f"{race.day.isoformat()} {deadline_min // 60:02d}:{deadline_min % 60:02d}:00",
        "race_grade_number": race.grade,
        "race_title": race.title,
        "race_subtitle": race.subtitle,
        "race_distance": race.distance_m if updated else 1800,
        "boats": [_card(entry, stage) for entry in race.entries],
    }


def _card(entry: RaceEntry, stage: RaceStage) -> Document:
    card = {
        "racer_boat_number": entry.boat,
        **entry.card,
        "racer_weight": entry.weight if stage is RaceStage.UPDATED else entry.listed_weight,
        **entry.equipment,
    }
    return dict.fromkeys(card, None) | {"racer_boat_number": entry.boat} if stage is RaceStage.BLANK else card


def preview(race: Race, stage: RaceStage) -> Document:
    weather = _weather(race.preview_weather)
    if stage in {RaceStage.EMPTY, RaceStage.CALLED_OFF, RaceStage.WEATHERLESS}:
        weather = dict.fromkeys(weather, 0) | {"race_wind_direction_number": None, "race_weather_number": None}
        if stage is not RaceStage.EMPTY:
            weather["race_weather_number"] = race.preview_weather.weather
    boats: Any = {str(entry.boat): _exhibition(entry.boat, _shown_exhibition(entry, stage)) for entry in race.entries}
    if race.boat_zero and stage is RaceStage.OBSERVED:
        boats = _with_boat_zero(list(boats.values()))
    return {**_key(race), **weather, "boats": boats}


def _shown_exhibition(entry: RaceEntry, stage: RaceStage) -> Exhibition:
    if stage in {RaceStage.OBSERVED, RaceStage.WEATHERLESS}:
        return entry.exhibition
    return Exhibition(None, None, entry.weight if stage is RaceStage.WEIGHED else 0, 0, 0, 0)


def _exhibition(boat: int, seen: Exhibition) -> Document:
    return {
        "racer_boat_number": boat,
        "racer_course_number": seen.course,
        "racer_start_timing": seen.timing,
        "racer_weight": seen.weight,
        "racer_weight_adjustment": seen.ballast,
        "racer_exhibition_time": seen.time,
        "racer_tilt_adjustment": seen.tilt,
    }


def _with_boat_zero(boats: list[Document]) -> list[Document]:
    """An error of the real source: a course without a boat becomes boat 0, and boats are a list, not an object."""
    lost = next((boat for boat in boats if boat["racer_course_number"] == 6), boats[5])
    zero = {"racer_boat_number": 0, "racer_course_number": lost["racer_course_number"], "racer_start_timing": None}
    return [zero, *({**b, "racer_course_number": None, "racer_start_timing": None} if b is lost else b for b in boats)]


def _weather(weather: Weather) -> Document:
    return {
        "race_wind": weather.wind,
        "race_wind_direction_number": weather.direction,
        "race_wave": weather.wave,
        "race_weather_number": weather.weather,
        "race_temperature": weather.temperature,
        "race_water_temperature": weather.water_temperature,
    }


def result(race: Race, stage: RaceStage) -> Document:
    complete = stage in {RaceStage.PLACED, RaceStage.MISREAD, RaceStage.SETTLED}
    paid = stage in {RaceStage.PAID_UNPLACED, RaceStage.MISREAD, RaceStage.SETTLED}
    weather = _weather(race.weather)
    boats = [_outcome(race, entry, stage) for entry in race.entries]
    if stage is RaceStage.BOAT_ZERO:
        boats.insert(0, dict.fromkeys(boats[0], None) | {"racer_boat_number": 0})
    return {
        **_key(race),
        **(weather if complete else dict.fromkeys(weather, None)),
        "race_technique_number": race.technique if complete else None,
        "boats": boats,
        "payouts": {market: race.payouts[market] if paid else [] for market in MARKETS},
    }


def _outcome(race: Race, entry: RaceEntry, stage: RaceStage) -> Document:
    complete = stage in {RaceStage.PLACED, RaceStage.MISREAD, RaceStage.SETTLED}
    # An arbitrary choice of boats, the same in every version.
    zero = stage is RaceStage.NUMBERLESS and entry.boat > race.number % 6
    timing = entry.timing
    if stage is RaceStage.MISREAD and entry.boat == misread_boat(race) and timing is not None:
        timing = round(timing + 0.1, 2)
    return {
        "racer_boat_number": entry.boat,
        "racer_course_number": entry.course if complete else None,
        "racer_start_timing": timing if complete else None,
        "racer_place_number": race.finish.places[entry.boat - 1] if complete else None,
        "racer_number": entry.card["racer_number"] if complete else (0 if zero else None),
        "racer_name": entry.card["racer_name"] if complete else None,
    }


def misread_boat(race: Race) -> int:
    """The first boat that was placed; a placed boat always has a start timing of 0 or more."""
    return next((boat for boat, place in enumerate(race.finish.places, 1) if place is not None and place <= 6), 0)
