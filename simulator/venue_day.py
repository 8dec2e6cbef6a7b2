"""Draws the races of one venue's day from latents. The order of the draws is part of the meaning of a seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from simulator import schedule, world
from simulator.accidents import FALSE_START, Finish, draw_finish
from simulator.courses import draw_courses
from simulator.draws import Draw, stream
from simulator.entities import Card, Racers, Venue
from simulator.entries import VenueDayResults, build_entries
from simulator.observed import draw_weathers
from simulator.payouts import Payouts, payouts
from simulator.races import Race, RaceEntry, RaceStatus
from simulator.rates import AnomalyRates
from simulator.world import Floats, Ints, Latents

MEETING_FORM_KEY = 1
# The public overestimates outsiders: its estimates are the true probabilities flattened, with noise, and mixed with a
# uniform distribution.
PUBLIC_FLATNESS, PUBLIC_ERROR, PUBLIC_UNIFORM_SHARE = 0.78, 0.25, 0.02
ANNOUNCED_BEFORE_MIN = 20
# Winning technique (1 to 6) by the winner's course: counts from a third of the real races.
TECHNIQUES = np.array(
    [
        [5612, 0, 0, 0, 234, 14],
        [0, 814, 450, 0, 129, 19],
        [0, 155, 563, 488, 116, 17],
        [0, 211, 552, 271, 82, 12],
        [0, 46, 156, 368, 57, 16],
        [0, 22, 65, 93, 28, 6],
    ]
)


@dataclass(frozen=True)
class VenueDayInputs:
    """Everything a venue's day depends on."""

    seed: int
    day: date
    venue: int
    slot: int
    venues: int
    races: int
    first_deadline_min: int
    last_deadline_min: int
    rates: AnomalyRates
    racers: Racers
    place: Venue
    cards: list[Card]
    equipment: tuple[int, int]


def venue_day(setting: VenueDayInputs) -> tuple[Race, ...]:
    meeting = schedule.meeting_on(
        setting.seed,
        setting.day,
        setting.venue,
        setting.slot,
        len(setting.racers.skill),
        setting.equipment,
        setting.rates,
    )
    rng = stream(setting.seed, Draw.DAY, setting.venue, setting.day.toordinal())
    run = _draw_results(setting, meeting, rng)
    return _races(setting, meeting, run, rng)


def _draw_results(setting: VenueDayInputs, meeting: schedule.Meeting, rng: np.random.Generator) -> VenueDayResults:
    rates = setting.rates
    card_day = schedule.card_day(setting.seed, setting.day, setting.venue, setting.races, rates)
    listed = schedule.line_up(setting.seed, card_day, setting.venue, setting.races)  # (races, 6) of the meeting's list
    latents = _latents(setting, meeting, listed, rng)
    absent = [int(rng.integers(6)) if chance < rates.absent else None for chance in rng.random(setting.races).tolist()]
    shown, course = draw_courses(absent, rng)
    wind, wave = (weather[0] for weather in world.draw_weather(rng, (1,), setting.races))
    utilities = world.utility(latents, setting.place.lane, course, wind, wave)
    orders: list[list[int]] = world.finishing_order(utilities, rng).tolist()
    return VenueDayResults(
        racer=meeting.racers[listed],
        motor=meeting.motors[listed],
        hull=meeting.hulls[listed],
        course=course,
        exhibition_course=shown,
        wind=wind,
        wave=wave,
        p_win=world.win_probability(utilities),
        lasting=world.lasting_utility(latents, setting.place.lane, np.tile(np.arange(1, 7), (setting.races, 1))),
        finishes=[draw_finish(order, gone, rates, rng) for order, gone in zip(orders, absent, strict=True)],
        latents=latents,
    )


def _latents(setting: VenueDayInputs, meeting: schedule.Meeting, listed: Ints, rng: np.random.Generator) -> Latents:
    form_rng = stream(setting.seed, Draw.MEETING, setting.venue, meeting.first_day.toordinal(), MEETING_FORM_KEY)
    form = form_rng.normal(size=schedule.RACERS_PER_MEETING)
    racer, racers = meeting.racers[listed], setting.racers
    return Latents(
        skill=racers.skill[racer],
        start=racers.start[racer],
        taste=racers.taste[racer],
        affinity=setting.place.affinity[racer],
        form=form[listed],
        motor=setting.place.motor[meeting.motors[listed]],
        condition=rng.normal(size=listed.shape),
        start_form=rng.normal(size=listed.shape),
    )


def _races(
    setting: VenueDayInputs, meeting: schedule.Meeting, run: VenueDayResults, rng: np.random.Generator
) -> tuple[Race, ...]:
    entries = build_entries(setting.racers, setting.place, setting.cards, run, setting.rates, rng)
    previewed, resulted = draw_weathers(setting.day, setting.venue, run.wind, run.wave, setting.rates, rng)
    crowd = _public_estimates(run.p_win, rng)
    called_off = schedule.called_off_from(setting.seed, setting.day, setting.venue, setting.races, setting.rates)
    times = _Times.of(setting, called_off, rng)
    chances = rng.random((setting.races, 3)).tolist()
    return tuple(
        Race(
            day=setting.day,
            venue=setting.venue,
            number=i + 1,
            listed_deadline_min=times.listed[i],
            deadline_min=times.final[i],
            grade=meeting.grade,
            title=meeting.title,
            subtitle=schedule.subtitle(setting.day, i + 1, setting.races),
            distance_m=1200 if i + 1 >= times.shortened_from else 1800,
            status=_status(i + 1, called_off, chances[i][0], setting),
            called_off_min=times.announced if called_off is not None and i + 1 >= called_off else None,
            entries=entries[i],
            preview_weather=previewed[i],
            weather=resulted[i],
            technique=_technique(run.finishes[i], entries[i], chances[i][1]),
            finish=run.finishes[i],
            payouts=_payouts(run.finishes[i], crowd[i], setting.rates, rng),
            boat_zero=chances[i][2] < setting.rates.boat_zero_in_preview,
            preview_blanked=i == 0 and called_off is not None and called_off > 1,
            p_win=tuple(run.p_win[i].tolist()),
            lasting=tuple(run.lasting[i].tolist()),
        )
        for i in range(setting.races)
    )


def _public_estimates(p_win: Floats, rng: np.random.Generator) -> Floats:
    log_estimates = PUBLIC_FLATNESS * np.log(np.maximum(p_win, 1e-12)) + rng.normal(0.0, PUBLIC_ERROR, p_win.shape)
    return np.asarray((1 - PUBLIC_UNIFORM_SHARE) * world.win_probability(log_estimates) + PUBLIC_UNIFORM_SHARE / 6)


def _status(race: int, called_off: int | None, chance: float, setting: VenueDayInputs) -> RaceStatus:
    if called_off is not None and race >= called_off:
        return RaceStatus.CALLED_OFF
    return RaceStatus.HALF_PUBLISHED if chance < setting.rates.never_finished_page else RaceStatus.RUN


@dataclass(frozen=True)
class _Times:
    listed: list[int]
    final: list[int]
    announced: int | None
    shortened_from: int

    @classmethod
    def of(cls, setting: VenueDayInputs, called_off: int | None, rng: np.random.Generator) -> _Times:
        listed = schedule.deadlines(
            setting.first_deadline_min, setting.last_deadline_min, setting.races, setting.slot, setting.venues
        )
        moved = rng.random(setting.races) < setting.rates.deadline_moved
        shortened = int(rng.integers(1, setting.races + 1)) if rng.random() < setting.rates.shortened else 13
        # A deadline moves by one minute, and only where the next one leaves room for it.
        roomy = [later - earlier > 1 for earlier, later in zip(listed, [*listed[1:], 24 * 60], strict=True)]
        final = [time + int(m and room) for time, m, room in zip(listed, moved.tolist(), roomy, strict=True)]
        if called_off == 1:
            final = [final[0] + schedule.CALLED_OFF_STEP_MIN * race for race in range(setting.races)]
        announced = None if called_off is None else max(1, listed[called_off - 1] - ANNOUNCED_BEFORE_MIN)
        return cls(listed, final, announced, shortened)


def _technique(finish_of_race: Finish, entries: tuple[RaceEntry, ...], chance: float) -> int | None:
    """The winning technique; None without exactly one winner."""
    winners = [entry for entry, place in zip(entries, finish_of_race.places, strict=True) if place == 1]
    if len(winners) != 1 or winners[0].course is None:
        return None
    shares = np.cumsum(TECHNIQUES[winners[0].course - 1])
    return int(np.searchsorted(shares, chance * shares[-1], side="right")) + 1


def _payouts(finish_of_race: Finish, crowd: Floats, rates: AnomalyRates, rng: np.random.Generator) -> Payouts:
    """The published payouts. A row is missing at the rate at which the real source has no winning ticket."""
    weights = {
        b: float(crowd[b - 1])
        for b, place in enumerate(finish_of_race.places, 1)
        if place is None or place < FALSE_START
    }
    total = sum(weights.values())
    complete = payouts(finish_of_race, {boat: weight / total for boat, weight in weights.items()})
    missing_rates = {
        "place": rates.lost_place,
        "win": rates.lost_win,
        "quinella_place": rates.lost_quinella_place,
        "quinella": rates.lost_quinella,
    }
    return {
        market: [row for row in rows if rng.random() >= missing_rates.get(market, 0.0)]
        for market, rows in complete.items()
    }
