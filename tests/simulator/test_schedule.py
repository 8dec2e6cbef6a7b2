"""Who races where and when. Each day is drawn independently of the other days."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest

from simulator.names import name_of
from simulator.races import Race, RaceStatus
from simulator.season import SeasonPlan, SimulatedSeason, spread_venues

pytestmark = pytest.mark.slow


def test_the_same_seed_gives_the_same_day_whatever_was_drawn_before() -> None:
    alone = SimulatedSeason(SeasonPlan(days=30)).races(date(2026, 1, 20))
    season = SimulatedSeason(SeasonPlan(days=30))
    in_turn = [season.races(date(2026, 1, day)) for day in range(1, 21)][-1]

    assert alone == in_turn


def test_another_seed_gives_another_day() -> None:
    assert SimulatedSeason(SeasonPlan(seed=1)).races(date(2026, 1, 2)) != SimulatedSeason(SeasonPlan(seed=2)).races(
        date(2026, 1, 2)
    )


def test_a_longer_season_holds_the_same_days() -> None:
    short, long = SeasonPlan(days=3), SeasonPlan(first_date=date(2025, 12, 1), days=90)

    assert SimulatedSeason(short).races(date(2026, 1, 3)) == SimulatedSeason(long).races(date(2026, 1, 3))


def test_a_racer_is_at_one_venue_a_day_and_races_there_twice_at_most(usual_races: list[Race]) -> None:
    rides: Counter[tuple[date, object]] = Counter()
    places: dict[tuple[date, object], set[int]] = {}
    for race in usual_races[: 48 * 60]:
        for entry in race.entries:
            key = (race.day, entry.card["racer_number"])
            rides[key] += 1
            places.setdefault(key, set()).add(race.venue)

    assert set(rides.values()) == {1, 2}
    assert {len(venues) for venues in places.values()} == {1}


def test_six_different_racers_meet_in_every_race(usual_races: list[Race]) -> None:
    assert all(len({entry.card["racer_number"] for entry in race.entries}) == 6 for race in usual_races)


def test_a_racer_keeps_the_motor_over_a_meeting(usual_races: list[Race]) -> None:
    motors: dict[tuple[object, int, int], set[object]] = {}
    for race in usual_races[: 48 * 30]:
        for entry in race.entries:
            key = (entry.card["racer_number"], race.venue, race.day.toordinal() // 6)
            motors.setdefault(key, set()).add(entry.equipment["racer_assigned_motor_number"])

    assert {len(drawn) for drawn in motors.values()} == {1}


def test_names_are_different_and_hold_exactly_one_space() -> None:
    names = [name_of(index) for index in range(3_000)]

    assert len(set(names)) == len(names)
    assert all(name.count(" ") == 1 and name.split(" ")[0] and name.split(" ")[1] for name in names)


def test_a_day_called_off_completely_is_run_the_day_after_with_the_same_card(odd_races: list[Race]) -> None:
    cards = {
        (race.venue, race.day, race.number): [entry.card["racer_number"] for entry in race.entries]
        for race in odd_races
    }
    postponed = [
        race
        for race in odd_races
        if race.number == 1
        and race.status is RaceStatus.CALLED_OFF
        and race.day.toordinal() % 6 != 5
        and (race.venue, race.day + timedelta(days=1), 1) in cards
    ]

    assert postponed
    for race in postponed:
        for number in range(1, 13):
            today, tomorrow = (race.venue, race.day, number), (race.venue, race.day + timedelta(days=1), number)
            assert cards[today] == cards[tomorrow]


def test_races_called_off_are_the_last_ones_of_their_day(odd_races: list[Race]) -> None:
    called_off: dict[tuple[int, date], list[int]] = {}
    for race in odd_races:
        if race.status is RaceStatus.CALLED_OFF:
            called_off.setdefault((race.venue, race.day), []).append(race.number)

    assert {min(numbers) for numbers in called_off.values()} > {1}
    assert all(numbers == list(range(numbers[0], 13)) for numbers in called_off.values())


def test_deadlines_rise_within_the_configured_hours() -> None:
    plan = SeasonPlan(days=3, first_deadline_min=600, last_deadline_min=666)
    for race_day in range(1, 4):
        races = SimulatedSeason(plan).races(date(2026, 1, race_day))
        for venue in plan.venues:
            deadlines = [race.deadline_min for race in races if race.venue == venue]

            assert deadlines == sorted(set(deadlines))
            assert deadlines[0] >= 600
            assert deadlines[-1] <= 666 + 6


def test_a_small_day_has_the_configured_number_of_races() -> None:
    races = SimulatedSeason(SeasonPlan(days=1, venues=(5,), races_per_venue=3)).races(date(2026, 1, 1))

    assert [(race.venue, race.number) for race in races] == [(5, 1), (5, 2), (5, 3)]


@pytest.mark.parametrize("count", range(1, 25))
def test_venues_are_different_stadiums(count: int) -> None:
    venues = spread_venues(count)

    assert len(set(venues)) == count
    assert set(venues) <= set(range(1, 25))


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": 0},
        {"seed": -1},
        {"races_per_venue": 13},
        {"venues": ()},
        {"venues": (25,)},
        {"venues": (3, 3)},
        {"first_deadline_min": 700, "last_deadline_min": 705},
        {"last_deadline_min": 24 * 60},
    ],
)
def test_an_impossible_plan_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        SeasonPlan(**wrong)  # type: ignore[arg-type]
