"""Rates of rare cases and anomalies in the real source, counted over 39,360 races of 2025-07-15 to 2026-03-31.

Each rate is written as cases over opportunities. 38,943 is the number of races that were run, 236,160 of entries, 3,280
of venue-days, 260 of days.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

RUN = 38_943
RACES = 39_360
# The maximum of a multiplied rate, so that it stays a probability and normal races still occur.
MAX_RATE = 0.5


@dataclass(frozen=True)
class AnomalyRates:
    """Probabilities, per race unless the comment says otherwise."""

    # What happens in a race.
    absent: float = 456 / RUN
    late: float = 26 / RUN
    late_without_course: float = 6 / 26  # per late boat
    one_false_start: float = 413 / RUN
    two_false_starts: float = 116 / RUN
    three_false_starts: float = 25 / RUN
    four_false_starts: float = 10 / RUN
    five_false_starts: float = 6 / RUN
    nobody_finished: float = 2 / RUN
    fell_out: float = 2_013 / (5 * RUN)  # per boat behind the winner: codes 7 to 13
    dead_heat_first: float = 1 / RUN
    dead_heat_second: float = 2 / RUN
    dead_heat_third: float = 11 / RUN
    dead_heat_behind: float = 15 / RUN
    # What the venue does. Per venue-day.
    all_called_off: float = 21 / 3_280
    rest_called_off: float = 34 / 3_280
    shortened: float = 150 / 3_280
    title_with_two_spaces: float = 1 / 585  # per meeting
    # What the source loses for good.
    lost_place: float = 88 / 77_763  # per payout row, also the next three
    lost_win: float = 15 / 38_921
    lost_quinella_place: float = 8 / 116_702
    lost_quinella: float = 3 / 38_924
    never_finished_page: float = 1 / RACES
    preview_without_weather_number: float = 29 / RACES
    preview_without_timing: float = 29 / 236_160  # per entry, also the next two
    preview_without_course: float = 4 / 236_160
    slow_exhibition: float = 7 / 236_160
    boat_zero_in_preview: float = 1 / 31_992
    # What the source shows for a while, on the day.
    programs_blank_day: float = 29 / 260  # per day
    deadline_moved: float = 3_368 / RACES
    preview_gone: float = 1_277 / RACES
    racer_number_zero: float = 6_297 / RACES
    payouts_gone: float = 1_798 / RACES
    payouts_late: float = 11 / 168  # from the one day with all versions recorded, also the next
    payouts_first: float = 2 / 168
    result_gone: float = 5 / RACES
    boat_zero_in_result: float = 18 / RACES
    corrected: float = 3 / RACES

    def multiplied_by(self, factor: float) -> AnomalyRates:
        """All rates multiplied by a factor, so that rare cases occur in a short season. 0 gives a faultless source."""
        if factor < 0:
            raise ValueError(f"expected a factor of 0 or more for the rates, got {factor:g}")
        return replace(self, **{f.name: min(MAX_RATE, getattr(self, f.name) * factor) for f in fields(self)})
