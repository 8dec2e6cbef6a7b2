"""One rule per anomaly of the boat race source: each says what is odd and what is made of it.

`boatrace` composes them; what the payouts tell is in `payouts`, whether an event is settled in `status`.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from services.cleaner.values import shown, wrong
from shared.errors import InvalidEvent

SLOTS = range(1, 7)

REFUNDED = frozenset((14, 15, 16))
"""Place codes whose stakes go back: false start, late start, absent."""

LAST_PLACE = 6
LAST_CODE = 16

# Bounds of what is measured before the race, where 0 is no measure: 260 days show 6.31 s and 40.5 kg at least.
SHORTEST_LAP_S = 3
LIGHTEST_KG = 30

# Shares and points that belong together: taken from the same starts of the same racer, motor or hull.
RATE_BLOCKS = (
    ("national_points", "national_top2_percent", "national_top3_percent"),
    ("local_points", "local_top2_percent", "local_top3_percent"),
    ("motor_top2_percent", "motor_top3_percent"),
    ("hull_top2_percent", "hull_top3_percent"),
)


def boats_of(boats: Any) -> list[dict[str, Any]]:
    """Array or object: `boats` is an array in most files, an object keyed by boat number in previews since 2025-08.

    The key of an object must be the number its boat gives itself.
    """
    if isinstance(boats, dict):
        rows = list(boats.values())
        for key, row in boats.items():
            number = row.get("racer_boat_number") if isinstance(row, dict) else None
            if number.__class__ is not int or str(number) != key:
                raise wrong("boats", f"a boat of number {shown(key)} under that key", number)
    elif isinstance(boats, list):
        rows = boats
    else:
        raise wrong("boats", "an array or an object", boats)
    for row in rows:
        if row.__class__ is not dict:
            raise wrong("boats", "objects", row)
    return rows


def without_boat_zero(boats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Boat 0: a phantom row, left where the source's page had a line that belongs to no boat."""
    return [boat for boat in boats if boat.get("racer_boat_number") != 0]


def six_boats(boats: Any) -> list[dict[str, Any]]:
    """The rows of boats 1 to 6, in this order: every race of the source has exactly these."""
    rows = without_boat_zero(boats_of(boats))
    numbers = [row.get("racer_boat_number") for row in rows]
    if any(number.__class__ is not int for number in numbers) or {*numbers} != {*SLOTS} or len(rows) != len(SLOTS):
        raise InvalidEvent(f"boats: expected boats 1..6, each once, got {', '.join(map(shown, numbers[:8]))}")
    return rows if numbers == [*SLOTS] else sorted(rows, key=lambda row: int(row["racer_boat_number"]))


def drop_empty_rates(measures: dict[str, float]) -> None:
    """Zero for "none": a racer without starts (here or at all), a motor or hull without a record, has zero rates.

    Only a block that is zero as a whole says so. A zero beside a rate above zero is a fact: 6,411 entries have
    local points and never came in the first three. (Points count every finish, so starts give points.)
    """
    for block in RATE_BLOCKS:
        if not measures.get(block[0]) and not any(measures.get(name) for name in block):
            for name in block:
                measures.pop(name, None)


def drop_unmeasured(measures: dict[str, float]) -> None:
    """Zero for "none" in previews: exhibition time 0 of a boat that did not run, weight 0 of one not weighed.

    A boat that was not weighed has neither ballast nor a declared tilt, so their zeros are none as well (1,235
    entries). Of a weighed boat both zeros are facts: no ballast, level motor.
    """
    exhibition_time_s, weight_kg = measures.get("exhibition_time_s"), measures.get("weight_kg")
    if exhibition_time_s == 0:
        del measures["exhibition_time_s"]
    elif exhibition_time_s is not None and exhibition_time_s < SHORTEST_LAP_S:
        raise wrong("racer_exhibition_time", f"0 (none) or at least {SHORTEST_LAP_S}", exhibition_time_s)
    if weight_kg == 0:
        for name in ("weight_kg", "weight_adjustment_kg", "tilt_deg"):
            if measures.get(name) == 0:
                del measures[name]
    elif weight_kg is not None and weight_kg < LIGHTEST_KG:
        raise wrong("racer_weight", f"0 (none) or at least {LIGHTEST_KG}", weight_kg)


def drop_placeholder_weather(conditions: dict[str, float]) -> None:
    """Placeholder weather: no wind direction and wind, wave and both temperatures 0. Only the weather code is real.

    A true calm has direction 17, and such a block stays even at 0 degrees.
    """
    if "wind_direction" not in conditions and not any(
        conditions.get(name) for name in ("wind_m_s", "wave_cm", "air_temperature_c", "water_temperature_c")
    ):
        for name in ("wind_m_s", "wave_cm", "air_temperature_c", "water_temperature_c"):
            conditions.pop(name, None)


def racer_of(boat: Mapping[str, Any]) -> int | None:
    """`racer_number` 0: a page read while it was being written; the number is unknown, as with null."""
    number = boat.get("racer_number")
    if number is None:
        if "racer_number" not in boat:
            raise InvalidEvent("expected the field 'racer_number', got none")
        return None
    if number.__class__ is not int or not 0 <= number <= 99_999:
        raise wrong("racer_number", "an integer 0..99999 or null", number)
    return int(number) or None


def move_place_code(outcome: dict[str, Any]) -> None:
    """Place codes: 1..6 of `racer_place_number` is a place, 7..16 says why there is none; never both.

    Stakes on a boat with code 14, 15 or 16 go back; the source has no row that says so.
    """
    if outcome.get("place", 0) > LAST_PLACE:
        code = outcome.pop("place")
        outcome["code"] = code
        outcome["refunded"] = code in REFUNDED


def check_ranking(places: Sequence[int | None]) -> None:
    """Dead heats: equal places are allowed, and the next one is left out for each (1, 2, 2, 4); gaps are not."""
    ranked = sorted(place for place in places if place is not None)
    for rank, place in enumerate(ranked, start=1):
        if place != rank and (rank == 1 or place != ranked[rank - 2]):
            raise InvalidEvent(f"places: expected 1, 2, 3 ... with ties as 1, 2, 2, 4, got {ranked}")


def single_spaced(title: str | None) -> str | None:
    """Titles with two spaces in a row: the same meeting is written with one on other days."""
    if title is None or "  " not in title:
        return title
    return " ".join(part for part in title.split(" ") if part)


def card_key(venue: int, number: int, title: str | None, racers: Sequence[int | None]) -> str | None:
    """Postponed cards: the same line-up at the same venue, race number and meeting, whatever the date.

    None while a racer or the title is unknown. The date is left out on purpose; the event key has it.
    """
    if title is None or None in racers:
        return None
    line_up = f"{venue}/{number}/{title}/{'/'.join(map(str, racers))}"
    return blake2b(line_up.encode(errors="surrogatepass"), digest_size=10).hexdigest()
