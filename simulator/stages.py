"""Draws when each race changes its stage in each feed, including the real source's temporary errors.

Minutes are counted from midnight JST of the race day and may exceed 1,440.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.documents import Stage
from simulator.draws import Draw, stream
from simulator.races import Race, Status
from simulator.rates import Rates

# As on the one real day with all versions recorded. The feeds are of different dates for half an hour.
FIRST_PUBLISHED_MIN = {"results": 9, "programs": 12, "previews": 37}
BLANK_FOR_MIN = 40
# 460 races were blank on 29 days with 151 races each: a tenth of the races of such a day.
BLANK_SHARE = (0.02, 0.19)


class Step(NamedTuple):
    """The race shows this stage from this minute on."""

    at_min: int
    stage: Stage


@dataclass(frozen=True)
class Pace:
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


def shown(steps: list[Step], at_min: int) -> Stage:
    """The stage at a minute; before the first step, the first stage."""
    return steps[max(0, bisect_right(steps, at_min, key=lambda step: step.at_min) - 1)].stage


def day_steps(races: tuple[Race, ...], seed: int, pace: Pace, rates: Rates) -> Mapping[str, list[list[Step]]]:
    """The steps of every race by feed, in order of time. All races must be of one day."""
    announced = {race.venue: race.called_off_min for race in races if race.called_off_min is not None}
    blank = _blank_races(races, seed, rates)
    programs, previews, results = [], [], []
    for index, race in enumerate(races):
        rng = stream(seed, Draw.LIVE, race.day.toordinal(), race.venue, race.number)
        moments = _moments(race, pace, rng)
        programs.append(_program_steps(race, moments, pace, blank=index in blank))
        previews.append(_preview_steps(race, moments, announced.get(race.venue), _Slips(rng, pace, rates)))
        results.append(_result_steps(race, moments, _Slips(rng, pace, rates)))
    return {"programs": programs, "previews": previews, "results": results}


@dataclass(frozen=True)
class _Moments:
    weighed_min: int
    observed_min: int
    result_min: int


def _moments(race: Race, pace: Pace, rng: np.random.Generator) -> _Moments:
    deadline = race.deadline_min
    if rng.random() < pace.preview_share:
        observed = deadline - pace.publish_every_min - _within(pace.observed_lead_min, rng)
    else:
        observed = deadline + _within(pace.observed_lag_min, rng)
    weighed = min(deadline - _within(pace.weighed_lead_min, rng), observed - 1)
    return _Moments(weighed, observed, deadline + _within(pace.result_lag_min, rng))


def _within(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _blank_races(races: tuple[Race, ...], seed: int, rates: Rates) -> range:
    """The races whose cards are blank during the night, usually none."""
    rng = stream(seed, Draw.BLANKED, races[0].day.toordinal())
    if rng.random() >= rates.programs_blank_day:
        return range(0)
    length = max(1, round(len(races) * rng.uniform(*BLANK_SHARE)))
    start = int(rng.integers(0, len(races) - length + 1))
    return range(start, start + length)


@dataclass
class _Slips:
    """Draws whether a temporary error occurs, and for how many publications."""

    rng: np.random.Generator
    pace: Pace
    rates: Rates

    def happens(self, rate: float) -> bool:
        return bool(self.rng.random() < rate)

    def after(self, at_min: int, fewest: int, most: int) -> int:
        """`at_min` plus a random number of publication intervals, from `fewest` to `most`."""
        return at_min + self.pace.publish_every_min * _within((fewest, most), self.rng)


def _interrupted(steps: list[Step], from_min: int, until_min: int, stage: Stage) -> list[Step]:
    """The same steps with another stage between two minutes; then the stage that is due at the second."""
    before = [step for step in steps if step.at_min < from_min]
    after = [step for step in steps if step.at_min > until_min]
    return [*before, Step(from_min, stage), Step(until_min, shown(steps, until_min)), *after]


def _in_order(feed: str, opening: Stage, steps: list[Step]) -> list[Step]:
    """The steps, preceded by the opening stage at the feed's first publication, and none before it."""
    first = FIRST_PUBLISHED_MIN[feed]
    return [Step(first, opening), *(Step(max(first, step.at_min), step.stage) for step in steps)]


def _program_steps(race: Race, moments: _Moments, pace: Pace, blank: bool) -> list[Step]:
    updated = moments.weighed_min if race.called_off_min is None else race.called_off_min
    steps = _in_order("programs", Stage.LISTED, [Step(updated, Stage.UPDATED)])
    if not blank:
        return steps
    return _interrupted(steps, pace.blank_at_min, pace.blank_at_min + BLANK_FOR_MIN, Stage.BLANK)


def _preview_steps(race: Race, moments: _Moments, announced_min: int | None, slips: _Slips) -> list[Step]:
    steps = [Step(moments.weighed_min, Stage.WEIGHED), Step(moments.observed_min, Stage.OBSERVED)]
    if race.status is Status.CALLED_OFF and race.called_off_min is not None:
        steps = [step for step in steps if step.at_min < race.called_off_min]
        steps.append(Step(race.called_off_min, Stage.CALLED_OFF))
        return _in_order("previews", Stage.EMPTY, steps)
    steps = _in_order("previews", Stage.EMPTY, steps)
    if slips.happens(slips.rates.preview_gone):
        gone = slips.after(moments.observed_min, 1, 4)
        steps = _interrupted(steps, gone, slips.after(gone, 1, 2), Stage.EMPTY)
    if race.preview_blanked and announced_min is not None:
        steps.append(Step(max(announced_min, steps[-1].at_min + 1), Stage.WEATHERLESS))
    return steps


def _result_steps(race: Race, moments: _Moments, slips: _Slips) -> list[Step]:
    if race.status is Status.CALLED_OFF:
        return _in_order("results", Stage.EMPTY, [])
    at = moments.result_min
    if race.status is Status.HALF_PUBLISHED:
        return _in_order("results", Stage.EMPTY, [Step(at, Stage.NUMBERLESS)])
    early = max(race.deadline_min + 1, at - slips.pace.publish_every_min)
    steps = _in_order("results", Stage.EMPTY, [*_before_result(early, slips), *_first_result(at, slips)])
    settled = steps[-1].at_min
    if slips.happens(slips.rates.payouts_gone):
        gone = slips.after(settled, 1, 3)
        steps = _interrupted(steps, gone, slips.after(gone, 1, 2), Stage.PLACED)
    elif slips.happens(slips.rates.result_gone):
        gone = slips.after(settled, 1, 3)
        steps = _interrupted(steps, gone, slips.after(gone, 1, 2), Stage.EMPTY)
    return steps


def _before_result(early_min: int, slips: _Slips) -> list[Step]:
    for rate, stage in (
        (slips.rates.racer_number_zero, Stage.NUMBERLESS),
        (slips.rates.payouts_first, Stage.PAID_UNPLACED),
        (slips.rates.boat_zero_in_result, Stage.BOAT_ZERO),
    ):
        if slips.happens(rate):
            return [Step(early_min, stage)]
    return []


def _first_result(at_min: int, slips: _Slips) -> list[Step]:
    if slips.happens(slips.rates.payouts_late):
        return [Step(at_min, Stage.PLACED), Step(slips.after(at_min, 1, 3), Stage.SETTLED)]
    if slips.happens(slips.rates.corrected):
        return [Step(at_min, Stage.MISREAD), Step(slips.after(at_min, 3, 10), Stage.SETTLED)]
    return [Step(at_min, Stage.SETTLED)]
