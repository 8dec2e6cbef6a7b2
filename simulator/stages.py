"""Draws when each race changes its stage in each feed, including the real source's temporary errors.

Minutes are counted from midnight JST of the race day and may exceed 1,440.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.documents import RaceStage
from simulator.draws import Draw, stream
from simulator.races import Race, RaceStatus
from simulator.rates import AnomalyRates

# As on the one real day with all versions recorded. The feeds are of different dates for half an hour.
FIRST_PUBLISHED_MIN = {"results": 9, "programs": 12, "previews": 37}
BLANK_FOR_MIN = 40
# 460 races were blank on 29 days with 151 races each: a tenth of the races of such a day.
BLANK_SHARE = (0.02, 0.19)


class StageChange(NamedTuple):
    """The race shows this stage from this minute on."""

    at_min: int
    stage: RaceStage


@dataclass(frozen=True)
class PublicationSchedule:
    """When documents are published. Lags are minutes after the deadline, leads minutes before it, both ends inclusive.

    `preview_share` is the share of races observed before their deadline. It is 27.7 percent in the real source; the
    default is higher, because a demonstration needs predictions with and without an observation.
    """

    publish_every_min: int = 5
    preview_share: float = 0.9
    weighed_lead_min: tuple[int, int] = (50, 90)
    observed_lead_min: tuple[int, int] = (4, 14)  # on top of the publication step
    observed_lag_min: tuple[int, int] = (1, 25)
    result_lag_min: tuple[int, int] = (10, 20)
    blank_at_min: int = 4 * 60 + 2

    def __post_init__(self) -> None:
        if not 1 <= self.publish_every_min <= 60:
            raise ValueError(f"expected 1 to 60 minutes between publications, got {self.publish_every_min}")
        if not 0.0 <= self.preview_share <= 1.0:
            raise ValueError(f"expected a share from 0 to 1, got {self.preview_share:g}")


def stage_at(steps: list[StageChange], at_min: int) -> RaceStage:
    """The stage at a minute; before the first step, the first stage."""
    return steps[max(0, bisect_right(steps, at_min, key=lambda step: step.at_min) - 1)].stage


def day_steps(
    races: tuple[Race, ...], seed: int, pace: PublicationSchedule, rates: AnomalyRates
) -> Mapping[str, list[list[StageChange]]]:
    """The steps of every race by feed, in order of time. All races must be of one day."""
    announced_min = {race.venue: race.called_off_min for race in races if race.called_off_min is not None}
    blank = _blank_races(races, seed, rates)
    programs, previews, results = [], [], []
    for index, race in enumerate(races):
        rng = stream(seed, Draw.LIVE, race.day.toordinal(), race.venue, race.number)
        moments = _moments(race, pace, rng)
        programs.append(_program_steps(race, moments, pace, blank=index in blank))
        previews.append(
            _preview_steps(race, moments, announced_min.get(race.venue), _TemporaryErrors(rng, pace, rates))
        )
        results.append(_result_steps(race, moments, _TemporaryErrors(rng, pace, rates)))
    return {"programs": programs, "previews": previews, "results": results}


@dataclass(frozen=True)
class _Moments:
    weighed_min: int
    observed_min: int
    result_min: int


def _moments(race: Race, pace: PublicationSchedule, rng: np.random.Generator) -> _Moments:
    deadline = race.deadline_min
    if rng.random() < pace.preview_share:
        observed = deadline - pace.publish_every_min - _within(pace.observed_lead_min, rng)
    else:
        observed = deadline + _within(pace.observed_lag_min, rng)
    weighed = min(deadline - _within(pace.weighed_lead_min, rng), observed - 1)
    return _Moments(weighed, observed, deadline + _within(pace.result_lag_min, rng))


def _within(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _blank_races(races: tuple[Race, ...], seed: int, rates: AnomalyRates) -> range:
    """The races whose cards are blank during the night, usually none."""
    rng = stream(seed, Draw.BLANKED, races[0].day.toordinal())
    if rng.random() >= rates.programs_blank_day:
        return range(0)
    length = max(1, round(len(races) * rng.uniform(*BLANK_SHARE)))
    start = int(rng.integers(0, len(races) - length + 1))
    return range(start, start + length)


@dataclass
class _TemporaryErrors:
    """Draws whether a temporary error occurs, and for how many publications."""

    rng: np.random.Generator
    pace: PublicationSchedule
    rates: AnomalyRates

    def occurs(self, rate: float) -> bool:
        return bool(self.rng.random() < rate)

    def later_min(self, at_min: int, min_count: int, max_count: int) -> int:
        """`at_min` plus a random number of publication intervals, from `min_count` to `max_count`."""
        return at_min + self.pace.publish_every_min * _within((min_count, max_count), self.rng)


def _interrupted(steps: list[StageChange], from_min: int, until_min: int, stage: RaceStage) -> list[StageChange]:
    """The same steps with another stage between two minutes; then the stage that is due at the second."""
    before = [step for step in steps if step.at_min < from_min]
    after = [step for step in steps if step.at_min > until_min]
    return [*before, StageChange(from_min, stage), StageChange(until_min, stage_at(steps, until_min)), *after]


def _with_opening(feed: str, opening: RaceStage, steps: list[StageChange]) -> list[StageChange]:
    """The steps, preceded by the opening stage at the feed's first publication, and none before it."""
    first = FIRST_PUBLISHED_MIN[feed]
    return [StageChange(first, opening), *(StageChange(max(first, step.at_min), step.stage) for step in steps)]


def _program_steps(race: Race, moments: _Moments, pace: PublicationSchedule, blank: bool) -> list[StageChange]:
    updated = moments.weighed_min if race.called_off_min is None else race.called_off_min
    steps = _with_opening("programs", RaceStage.LISTED, [StageChange(updated, RaceStage.UPDATED)])
    if not blank:
        return steps
    return _interrupted(steps, pace.blank_at_min, pace.blank_at_min + BLANK_FOR_MIN, RaceStage.BLANK)


def _preview_steps(
    race: Race, moments: _Moments, announced_min: int | None, slips: _TemporaryErrors
) -> list[StageChange]:
    steps = [StageChange(moments.weighed_min, RaceStage.WEIGHED), StageChange(moments.observed_min, RaceStage.OBSERVED)]
    if race.status is RaceStatus.CALLED_OFF and race.called_off_min is not None:
        steps = [step for step in steps if step.at_min < race.called_off_min]
        steps.append(StageChange(race.called_off_min, RaceStage.CALLED_OFF))
        return _with_opening("previews", RaceStage.EMPTY, steps)
    steps = _with_opening("previews", RaceStage.EMPTY, steps)
    if slips.occurs(slips.rates.preview_gone):
        gone = slips.later_min(moments.observed_min, 1, 4)
        steps = _interrupted(steps, gone, slips.later_min(gone, 1, 2), RaceStage.EMPTY)
    if race.preview_blanked and announced_min is not None:
        steps.append(StageChange(max(announced_min, steps[-1].at_min + 1), RaceStage.WEATHERLESS))
    return steps


def _result_steps(race: Race, moments: _Moments, slips: _TemporaryErrors) -> list[StageChange]:
    if race.status is RaceStatus.CALLED_OFF:
        return _with_opening("results", RaceStage.EMPTY, [])
    at = moments.result_min
    if race.status is RaceStatus.HALF_PUBLISHED:
        return _with_opening("results", RaceStage.EMPTY, [StageChange(at, RaceStage.NUMBERLESS)])
    early = max(race.deadline_min + 1, at - slips.pace.publish_every_min)
    steps = _with_opening("results", RaceStage.EMPTY, [*_before_result(early, slips), *_first_result(at, slips)])
    settled = steps[-1].at_min
    if slips.occurs(slips.rates.payouts_gone):
        gone = slips.later_min(settled, 1, 3)
        steps = _interrupted(steps, gone, slips.later_min(gone, 1, 2), RaceStage.PLACED)
    elif slips.occurs(slips.rates.result_gone):
        gone = slips.later_min(settled, 1, 3)
        steps = _interrupted(steps, gone, slips.later_min(gone, 1, 2), RaceStage.EMPTY)
    return steps


def _before_result(early_min: int, slips: _TemporaryErrors) -> list[StageChange]:
    for rate, stage in (
        (slips.rates.racer_number_zero, RaceStage.NUMBERLESS),
        (slips.rates.payouts_first, RaceStage.PAID_UNPLACED),
        (slips.rates.boat_zero_in_result, RaceStage.BOAT_ZERO),
    ):
        if slips.occurs(rate):
            return [StageChange(early_min, stage)]
    return []


def _first_result(at_min: int, slips: _TemporaryErrors) -> list[StageChange]:
    if slips.occurs(slips.rates.payouts_late):
        return [StageChange(at_min, RaceStage.PLACED), StageChange(slips.later_min(at_min, 1, 3), RaceStage.SETTLED)]
    if slips.occurs(slips.rates.corrected):
        return [StageChange(at_min, RaceStage.MISREAD), StageChange(slips.later_min(at_min, 3, 10), RaceStage.SETTLED)]
    return [StageChange(at_min, RaceStage.SETTLED)]
