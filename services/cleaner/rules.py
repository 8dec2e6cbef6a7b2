"""Corrects the anomalies of the boat race source: one function for each, with a description of the anomaly.

`boatrace` calls them. Payouts are read in `payouts`; the status of an event is decided in `status`.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from services.cleaner.values import describe, unexpected
from shared.errors import InvalidEvent

SLOTS = range(1, 7)

REFUNDED = frozenset((14, 15, 16))
"""Place codes whose stakes are refunded: false start, late start, absent."""

LAST_PLACE = 6
LAST_CODE = 16

# Lower bounds of values measured before the race; 0 means not measured. The minima of 260 days are 6.31 s and 40.5 kg.
SHORTEST_LAP_S = 3
LIGHTEST_KG = 30

# Points and percentages computed from the same starts of the same racer, motor or hull.
RATE_BLOCKS = (
    ("national_points", "national_top2_percent", "national_top3_percent"),
    ("local_points", "local_top2_percent", "local_top3_percent"),
    ("motor_top2_percent", "motor_top3_percent"),
    ("hull_top2_percent", "hull_top3_percent"),
)


def boats_of(boats: Any) -> list[dict[str, Any]]:
    """The boats as a list. `boats` is an array in most files; in previews since 2025-08 an object keyed by boat number.

    Raises InvalidEvent if a key differs from the number in its boat.
    """
    if isinstance(boats, dict):
        rows = list(boats.values())
        for key, row in boats.items():
            number = row.get("racer_boat_number") if isinstance(row, dict) else None
            if number.__class__ is not int or str(number) != key:
                raise unexpected("boats", f"boat number {describe(key)} under the key {describe(key)}", number)
    elif isinstance(boats, list):
        rows = boats
    else:
        raise unexpected("boats", "an array or an object", boats)
    for row in rows:
        if row.__class__ is not dict:
            raise unexpected("boats", "objects", row)
    return rows


def without_boat_zero(boats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove boat 0: a phantom row that the source creates from a line of its page that belongs to no boat."""
    return [boat for boat in boats if boat.get("racer_boat_number") != 0]


def six_boats(boats: Any) -> list[dict[str, Any]]:
    """The rows of boats 1 to 6, in this order. Raises InvalidEvent unless these six are there exactly once."""
    rows = without_boat_zero(boats_of(boats))
    numbers = [row.get("racer_boat_number") for row in rows]
    if any(number.__class__ is not int for number in numbers) or {*numbers} != {*SLOTS} or len(rows) != len(SLOTS):
        raise InvalidEvent(f"boats: expected boats 1..6, each once, got {', '.join(map(describe, numbers[:8]))}")
    return rows if numbers == [*SLOTS] else sorted(rows, key=lambda row: int(row["racer_boat_number"]))


def drop_empty_rates(measures: dict[str, float]) -> None:
    """Remove rates for which 0 means unknown: a racer without starts (at this venue or at all), a motor or hull without
    a record.

    A 0 means unknown only if all rates of its block are 0. Beside a rate above 0 it is a real value: 6,411 entries have
    local points but no finish in the first three, because every finish gives points.
    """
    for block in RATE_BLOCKS:
        if not measures.get(block[0]) and not any(measures.get(name) for name in block):
            for name in block:
                measures.pop(name, None)


def drop_unmeasured(measures: dict[str, float]) -> None:
    """Remove preview measures for which 0 means unknown: the exhibition time of a boat that did not run, or the weight
    of a boat that was not weighed.

    A boat that was not weighed has neither ballast nor a declared tilt, so zeros there are unknown too (1,235 entries).
    For a weighed boat both zeros are real values: no ballast, level motor.
    """
    exhibition_time_s, weight_kg = measures.get("exhibition_time_s"), measures.get("weight_kg")
    if exhibition_time_s == 0:
        del measures["exhibition_time_s"]
    elif exhibition_time_s is not None and exhibition_time_s < SHORTEST_LAP_S:
        raise unexpected("racer_exhibition_time", f"0 (not measured) or at least {SHORTEST_LAP_S}", exhibition_time_s)
    if weight_kg == 0:
        for name in ("weight_kg", "weight_adjustment_kg", "tilt_deg"):
            if measures.get(name) == 0:
                del measures[name]
    elif weight_kg is not None and weight_kg < LIGHTEST_KG:
        raise unexpected("racer_weight", f"0 (not measured) or at least {LIGHTEST_KG}", weight_kg)


def drop_placeholder_weather(conditions: dict[str, float]) -> None:
    """Remove placeholder weather: no wind direction, and wind, wave and both temperatures 0. The weather code is kept.

    If it is really calm, the source gives wind direction 17. These values are kept even at 0 degrees.
    """
    if "wind_direction" not in conditions and not any(
        conditions.get(name) for name in ("wind_m_s", "wave_cm", "air_temperature_c", "water_temperature_c")
    ):
        for name in ("wind_m_s", "wave_cm", "air_temperature_c", "water_temperature_c"):
            conditions.pop(name, None)


def racer_of(boat: Mapping[str, Any]) -> int | None:
    """The racer's number; None if unknown: null, or 0 in a page that was fetched while it was being written."""
    number = boat.get("racer_number")
    if number is None:
        if "racer_number" not in boat:
            raise InvalidEvent("expected the field 'racer_number', got none")
        return None
    if number.__class__ is not int or not 0 <= number <= 99_999:
        raise unexpected("racer_number", "an integer 0..99999 or null", number)
    return int(number) or None


def move_place_code(outcome: dict[str, Any]) -> None:
    """Split place and place code: `racer_place_number` 1..6 is a place, 7..16 the code why there is none.

    Stakes on a boat with code 14, 15 or 16 are refunded; the source has no row for the refund.
    """
    if outcome.get("place", 0) > LAST_PLACE:
        code = outcome.pop("place")
        outcome["code"] = code
        outcome["refunded"] = code in REFUNDED


def check_ranking(places: Sequence[int | None]) -> None:
    """Raises InvalidEvent if places have gaps. A dead heat repeats a place and skips the next: 1, 2, 2, 4."""
    ranked = sorted(place for place in places if place is not None)
    for rank, place in enumerate(ranked, start=1):
        if place != rank and (rank == 1 or place != ranked[rank - 2]):
            raise InvalidEvent(f"places: expected 1, 2, 3 ... with ties as 1, 2, 2, 4, got {ranked}")


def single_spaced(title: str | None) -> str | None:
    """Replace repeated spaces by one: the title of a meeting has two on some days and one on others."""
    if title is None or "  " not in title:
        return title
    return " ".join(part for part in title.split(" ") if part)


def card_key(venue: int, number: int, title: str | None, racers: Sequence[int | None]) -> str | None:
    """A hash of venue, race number, title and line-up, which identifies a postponed card on another day.

    None if a racer or the title is unknown. The hash excludes the date, because a postponed card has another one.
    """
    if title is None or None in racers:
        return None
    line_up = f"{venue}/{number}/{title}/{'/'.join(map(str, racers))}"
    return blake2b(line_up.encode(errors="surrogatepass"), digest_size=10).hexdigest()
