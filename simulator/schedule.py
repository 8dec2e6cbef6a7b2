"""Draws the schedule of a venue: meetings of six days, line-ups, deadlines and cancellations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from simulator.draws import Draw, stream
from simulator.rates import AnomalyRates
from simulator.world import Ints

MEETING_DAYS = 6
# A day has 72 slots: with 48 racers, half of them race twice (61 percent in the real source) and none three times.
RACERS_PER_MEETING = 48
BOATS = 6
CALLED_OFF_STEP_MIN = 6
GRADES, GRADE_WEIGHTS = (1, 2, 3, 4, 5), np.array([432, 2160, 360, 3024, 33384]) / 39360
CUPS = (
    "水車杯",
    "導水路カップ",
    "堰の上特別",
    "放水門チャレンジ",
    "木の歯車記念",
    "上流選手権",
    "落差杯争奪戦",
    "沈砂池オープン",
)


@dataclass(frozen=True)
class Meeting:
    """A meeting of six days at one venue: indices of its racers in the roster, and their motors and hulls."""

    first_day: date
    title: str
    grade: int
    racers: Ints  # (48,)
    motors: Ints  # (48,)
    hulls: Ints  # (48,)


def meeting_on(
    seed: int, day: date, venue: int, slot: int, roster: int, equipment: tuple[int, int], rates: AnomalyRates
) -> Meeting:
    """The meeting on that day. `slot` is the venue's index among the season's venues, which divide the roster.

    `equipment` is the number of motors and of hulls.
    """
    round_number = day.toordinal() // MEETING_DAYS
    shuffled_roster = stream(seed, Draw.ROSTER, round_number).permutation(roster)
    rng = stream(seed, Draw.MEETING, venue, round_number)
    space = "  " if rng.random() < rates.title_with_two_spaces else " "
    return Meeting(
        first_day=date.fromordinal(round_number * MEETING_DAYS),
        title=f"第{1 + round_number % 60}回{space}{CUPS[int(rng.integers(len(CUPS)))]}",
        grade=int(rng.choice(GRADES, p=GRADE_WEIGHTS)),
        racers=shuffled_roster[slot * RACERS_PER_MEETING :][:RACERS_PER_MEETING],
        motors=rng.permutation(equipment[0])[:RACERS_PER_MEETING],
        hulls=rng.permutation(equipment[1])[:RACERS_PER_MEETING],
    )


def line_up(seed: int, card_day: date, venue: int, races: int) -> Ints:
    """(races, 6) indices into the meeting's racer list.

    Eight races have every racer once, the others half of them again. The order of the races is random.
    """
    rng = stream(seed, Draw.PROGRAM, venue, card_day.toordinal())
    slots = np.concatenate([rng.permutation(RACERS_PER_MEETING), rng.permutation(RACERS_PER_MEETING)])
    return slots[: races * BOATS].reshape(races, BOATS)[rng.permutation(races)]


def called_off_from(seed: int, day: date, venue: int, races: int, rates: AnomalyRates) -> int | None:
    """The first race of the day that is called off (1: all races), or None."""
    rng = stream(seed, Draw.CALLED_OFF, venue, day.toordinal())
    chance = rng.random()
    if chance < rates.all_called_off:
        return 1
    if chance < rates.all_called_off + rates.rest_called_off and races > 1:
        return int(rng.integers(2, races + 1))
    return None


def card_day(seed: int, day: date, venue: int, races: int, rates: AnomalyRates) -> date:
    """The day whose card is run: if all races of the day before were called off, that day's, and so on within the
    meeting."""
    first = date.fromordinal(day.toordinal() // MEETING_DAYS * MEETING_DAYS)
    day_of_card = day
    while day_of_card > first and called_off_from(seed, day_of_card - timedelta(days=1), venue, races, rates) == 1:
        day_of_card -= timedelta(days=1)
    return day_of_card


def deadlines(first_min: int, last_min: int, races: int, slot: int, venues: int) -> list[int]:
    """Deadlines in minutes from midnight JST, strictly increasing. The venues alternate between two races."""
    interval_min = max(1.0, (last_min - first_min) / max(1, races - 1))
    return [round(first_min + interval_min * (race + slot / venues)) for race in range(races)]


def subtitle(day: date, race: int, races: int) -> str:
    stage = day.toordinal() % MEETING_DAYS
    if stage == MEETING_DAYS - 1 and race == races:
        return "優勝戦"
    if stage == MEETING_DAYS - 2 and race > races - 3:
        return "準優勝戦"
    return "予選" if stage < MEETING_DAYS - 2 else "一般戦"
