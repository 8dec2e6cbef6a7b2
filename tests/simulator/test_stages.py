"""During a day every feed shows what the real source would show by then, with its anomalies, and ends complete."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import pytest

from simulator.documents import FEEDS, RaceStage, final_stage
from simulator.races import Race, RaceStatus
from simulator.rates import AnomalyRates
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.stages import PublicationSchedule, StageChange, day_steps, stage_at
from tests.simulator.conftest import ODD

pytestmark = pytest.mark.slow
END_MIN = 28 * 60
EVERY_MIN = 5
SEED = 5
Day = tuple[tuple[Race, ...], dict[str, list[list[StageChange]]]]


def days_of(plan: SeasonPlan, schedule: PublicationSchedule) -> list[Day]:
    season = SimulatedSeason(plan)
    days = (season.races(plan.first_date + timedelta(days=n)) for n in range(plan.days))
    return [(races, dict(day_steps(races, plan.seed, schedule, plan.rates))) for races in days]


@pytest.fixture(scope="module")
def odd_days() -> list[Day]:
    return days_of(SeasonPlan(seed=SEED, days=20, rates=AnomalyRates().multiplied_by(ODD)), PublicationSchedule())


def stages_seen(day: Day, feed: str, index: int) -> list[RaceStage]:
    """The stages of one race, in the order of publication."""
    steps = day[1][feed][index]
    seen = [stage_at(steps, minute) for minute in range(0, END_MIN, EVERY_MIN) if minute >= steps[0].at_min]
    return [stage for n, stage in enumerate(seen) if n == 0 or seen[n - 1] is not stage]


@pytest.mark.parametrize("feed", FEEDS)
def test_every_race_ends_with_what_the_dated_file_keeps(feed: str, odd_days: list[Day]) -> None:
    for races, steps in odd_days:
        for race, race_steps in zip(races, steps[feed], strict=True):
            assert stage_at(race_steps, END_MIN) is final_stage(feed, race)


@pytest.mark.parametrize("feed", FEEDS)
def test_steps_are_in_order_of_time(feed: str, odd_days: list[Day]) -> None:
    for _, steps in odd_days:
        for race_steps in steps[feed]:
            minutes = [step.at_min for step in race_steps]
            assert minutes == sorted(minutes)


def test_no_result_is_shown_before_the_deadline(odd_days: list[Day]) -> None:
    for races, steps in odd_days:
        for race, race_steps in zip(races, steps["results"], strict=True):
            assert stage_at(race_steps, race.deadline_min) is RaceStage.EMPTY


def test_usual_results_come_within_half_an_hour() -> None:
    (races, steps), *_ = days_of(SeasonPlan(days=1, rates=AnomalyRates().multiplied_by(0)), PublicationSchedule())

    for race, race_steps in zip(races, steps["results"], strict=True):
        assert [step.stage for step in race_steps] == [RaceStage.EMPTY, RaceStage.SETTLED]
        assert 10 <= race_steps[-1].at_min - race.deadline_min <= 20


@pytest.mark.parametrize("share", [0.0, 0.277, 0.9, 1.0])
def test_the_share_of_races_observed_before_their_deadline_is_the_configured_one(share: float) -> None:
    days = days_of(SeasonPlan(days=20, rates=AnomalyRates().multiplied_by(0)), PublicationSchedule(preview_share=share))
    in_time = [
        stage_at(race_steps, race.deadline_min // EVERY_MIN * EVERY_MIN) is RaceStage.OBSERVED
        for races, steps in days
        for race, race_steps in zip(races, steps["previews"], strict=True)
    ]

    assert abs(sum(in_time) / len(in_time) - share) < 0.05


def test_a_card_is_listed_then_updated_before_the_race(odd_days: list[Day]) -> None:
    (races, steps), *_ = days_of(SeasonPlan(days=1, rates=AnomalyRates().multiplied_by(0)), PublicationSchedule())

    for race, race_steps in zip(races, steps["programs"], strict=True):
        assert [step.stage for step in race_steps] == [RaceStage.LISTED, RaceStage.UPDATED]
        assert race_steps[0].at_min == 12
        assert race_steps[1].at_min < race.deadline_min


@pytest.mark.parametrize(
    ("anomaly", "feed", "sequence"),
    [
        ("programs_blank_day", "programs", [RaceStage.LISTED, RaceStage.BLANK, RaceStage.LISTED, RaceStage.UPDATED]),
        (
            "preview_gone",
            "previews",
            [RaceStage.EMPTY, RaceStage.WEIGHED, RaceStage.OBSERVED, RaceStage.EMPTY, RaceStage.OBSERVED],
        ),
        ("all_called_off", "previews", [RaceStage.EMPTY, RaceStage.CALLED_OFF]),
        (
            "rest_called_off",
            "previews",
            [RaceStage.EMPTY, RaceStage.WEIGHED, RaceStage.OBSERVED, RaceStage.WEATHERLESS],
        ),
        ("racer_number_zero", "results", [RaceStage.EMPTY, RaceStage.NUMBERLESS, RaceStage.SETTLED]),
        ("payouts_late", "results", [RaceStage.EMPTY, RaceStage.PLACED, RaceStage.SETTLED]),
        ("payouts_gone", "results", [RaceStage.EMPTY, RaceStage.SETTLED, RaceStage.PLACED, RaceStage.SETTLED]),
        ("payouts_first", "results", [RaceStage.EMPTY, RaceStage.PAID_UNPLACED, RaceStage.SETTLED]),
        ("result_gone", "results", [RaceStage.EMPTY, RaceStage.SETTLED, RaceStage.EMPTY, RaceStage.SETTLED]),
        ("boat_zero_in_result", "results", [RaceStage.EMPTY, RaceStage.BOAT_ZERO, RaceStage.SETTLED]),
        ("corrected", "results", [RaceStage.EMPTY, RaceStage.MISREAD, RaceStage.SETTLED]),
        ("never_finished_page", "results", [RaceStage.EMPTY, RaceStage.NUMBERLESS]),
    ],
)
def test_every_anomaly_of_a_live_day_is_published(anomaly: str, feed: str, sequence: list[RaceStage]) -> None:
    rates = replace(AnomalyRates().multiplied_by(0), **{anomaly: 0.5})

    days = days_of(SeasonPlan(days=6, rates=rates), PublicationSchedule())

    assert any(stages_seen(day, feed, index) == sequence for day in days for index in range(len(day[0])))


def test_cards_go_blank_in_the_night_of_some_days_only() -> None:
    days = days_of(SeasonPlan(days=150, venues=(5,)), PublicationSchedule())
    blank = [
        sum(RaceStage.BLANK in {s.stage for s in race_steps} for race_steps in steps["programs"]) for _, steps in days
    ]

    assert 5 <= sum(count > 0 for count in blank) <= 35
    assert max(blank) <= 3


def test_live_anomalies_of_results_are_as_frequent_as_in_reality() -> None:
    days = days_of(SeasonPlan(days=60), PublicationSchedule())
    races = sum(len(races) for races, _ in days)
    seen = Counter(
        stage
        for races, steps in days
        for race, race_steps in zip(races, steps["results"], strict=True)
        if race.status is RaceStatus.RUN
        for stage in {step.stage for step in race_steps}
    )

    assert abs(seen[RaceStage.NUMBERLESS] / races - 6_297 / 39_360) < 0.04
    assert abs(seen[RaceStage.PLACED] / races - (1_798 / 39_360 + 11 / 168)) < 0.03


def test_no_feed_shows_that_a_race_is_called_off_before_the_announcement(odd_days: list[Day]) -> None:
    for races, steps in odd_days:
        for index, race in enumerate(races):
            if race.called_off_min is not None and race.called_off_min > 60:
                before = race.called_off_min - 1
                assert stage_at(steps["programs"][index], before) in {RaceStage.LISTED, RaceStage.BLANK}
                assert stage_at(steps["previews"][index], before) in {
                    RaceStage.EMPTY,
                    RaceStage.WEIGHED,
                    RaceStage.OBSERVED,
                }


def test_steps_depend_on_the_day_alone() -> None:
    season = SimulatedSeason(SeasonPlan(days=10))
    races = season.races(date(2026, 1, 5))

    assert day_steps(races, 7, PublicationSchedule(), AnomalyRates()) == day_steps(
        races, 7, PublicationSchedule(), AnomalyRates()
    )


@pytest.mark.parametrize("wrong", [{"publish_every_min": 0}, {"preview_share": 1.5}])
def test_an_impossible_schedule_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        PublicationSchedule(**wrong)  # type: ignore[arg-type]
