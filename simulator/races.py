"""The complete data of a race: everything that documents are rendered from, and the hidden true probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum

from simulator.accidents import Finish
from simulator.payouts import Payouts

Number = int | float


class RaceStatus(Enum):
    RUN = "run"
    CALLED_OFF = "called_off"
    HALF_PUBLISHED = "half_published"  # was run, but the source never replaced the half-published result


@dataclass(frozen=True)
class Weather:
    wind: int
    direction: int
    wave: int
    weather: int | None
    temperature: Number
    water_temperature: Number


@dataclass(frozen=True)
class Exhibition:
    course: int | None
    timing: Number | None
    weight: Number
    ballast: Number
    time: Number
    tilt: Number


@dataclass(frozen=True)
class RaceEntry:
    boat: int
    card: Mapping[str, object]
    equipment: Mapping[str, object]
    listed_weight: Number
    weight: Number
    exhibition: Exhibition
    course: int | None
    timing: Number | None


@dataclass(frozen=True)
class Race:
    """Minutes are counted from midnight JST of the race day."""

    day: date
    venue: int
    number: int
    listed_deadline_min: int
    deadline_min: int
    grade: int
    title: str
    subtitle: str
    distance_m: int
    status: RaceStatus
    called_off_min: int | None
    entries: tuple[RaceEntry, ...]
    preview_weather: Weather
    weather: Weather
    technique: int | None
    finish: Finish
    payouts: Payouts
    boat_zero: bool  # its preview contains a row of a boat 0, which does not exist
    preview_blanked: bool  # its preview lost the weather when the later races were called off
    p_win: tuple[float, ...]
    # The part of each boat's utility that is fixed when the card is published (world.lasting_utility), with each boat
    # in the course of its number.
    lasting: tuple[float, ...]
