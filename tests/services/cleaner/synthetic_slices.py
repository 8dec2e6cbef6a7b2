"""Synthetic slices in the boat race format, and the raw events that contain them. No person in them exists."""

from datetime import UTC, datetime
from typing import Any

from shared.events import RawEvent

Json = dict[str, Any]

DAY = "2031-05-06"
EVENT_KEY = f"boatrace:{DAY}:07:04"
PUBLISHED_AT = datetime(2031, 5, 6, 1, 30, tzinfo=UTC)
FETCHED_AT = datetime(2031, 5, 6, 1, 35, tzinfo=UTC)
RACERS = (7001, 7002, 7003, 7004, 7005, 7006)


def raw(feed: str, body: Json, **changes: Any) -> RawEvent:
    """A raw event, by default live."""
    fields = {
        "source": "boatrace",
        "feed": feed,
        "event_key": EVENT_KEY,
        "ordinal": 1,
        "document_hash": "d" * 64,
        "url": "http://127.0.0.1/today.json",
        "fetched_at": FETCHED_AT,
        "published_at": PUBLISHED_AT,
        "historical": False,
        "body": body,
    }
    return RawEvent.model_validate(fields | changes)


def card_boat(number: int, **changes: Any) -> Json:
    boat = {
        "racer_boat_number": number,
        "racer_name": f"試験 {number}郎",
        "racer_number": RACERS[number - 1],
        "racer_class_number": 2,
        "racer_branch_number": 13,
        "racer_birthplace_number": 40,
        "racer_age": 31,
        "racer_weight": 52,
        "racer_flying_count": 0,
        "racer_late_count": 0,
        "racer_average_start_timing": 0.16,
        "racer_national_top_1_percent": 5.51,
        "racer_national_top_2_percent": 33.25,
        "racer_national_top_3_percent": 51,
        "racer_local_top_1_percent": 6,
        "racer_local_top_2_percent": 40.5,
        "racer_local_top_3_percent": 60.75,
        "racer_assigned_motor_number": 30 + number,
        "racer_assigned_motor_top_2_percent": 35.5,
        "racer_assigned_motor_top_3_percent": 50.5,
        "racer_assigned_boat_number": 60 + number,
        "racer_assigned_boat_top_2_percent": 31.25,
        "racer_assigned_boat_top_3_percent": 47,
    }
    return boat | changes


def null_boat(boat: Json) -> Json:
    """The boat with null in every field except its number."""
    return dict.fromkeys(boat) | {"racer_boat_number": boat["racer_boat_number"]}


def card(**changes: Any) -> Json:
    race = {
        "race_date": DAY,
        "race_stadium_number": 7,
        "race_number": 4,
        "race_closed_at": f"{DAY} 12:34:00",
        "race_grade_number": 5,
        "race_title": "第1回 試験杯",
        "race_subtitle": "予選",
        "race_distance": 1800,
        "boats": [card_boat(number) for number in range(1, 7)],
    }
    return race | changes


WEATHER = {
    "race_wind": 3,
    "race_wind_direction_number": 5,
    "race_wave": 2,
    "race_weather_number": 1,
    "race_temperature": 18.5,
    "race_water_temperature": 17,
}
NO_WEATHER: Json = dict.fromkeys(WEATHER)


def preview_boat(number: int, **changes: Any) -> Json:
    boat = {
        "racer_boat_number": number,
        "racer_course_number": number,
        "racer_start_timing": 0.08,
        "racer_weight": 52.5,
        "racer_weight_adjustment": 0,
        "racer_exhibition_time": 6.78,
        "racer_tilt_adjustment": -0.5,
    }
    return boat | changes


def blank_preview_boat(number: int) -> Json:
    return preview_boat(number) | {
        "racer_course_number": None,
        "racer_start_timing": None,
        "racer_weight": 0,
        "racer_exhibition_time": 0,
        "racer_tilt_adjustment": 0,
    }


def preview(**changes: Any) -> Json:
    race = {"race_date": DAY, "race_stadium_number": 7, "race_number": 4, **WEATHER}
    return race | {"boats": {str(number): preview_boat(number) for number in range(1, 7)}} | changes


def result_boat(number: int, place: int | None, **changes: Any) -> Json:
    boat = {
        "racer_boat_number": number,
        "racer_course_number": number,
        "racer_start_timing": 0.11,
        "racer_place_number": place,
        "racer_number": RACERS[number - 1],
        "racer_name": f"試験 {number}郎",
    }
    return boat | changes


NO_PAYOUTS: Json = {
    market: [] for market in ("trifecta", "trio", "exacta", "quinella", "quinella_place", "win", "place")
}


def payouts(**pairs_by_market: list[tuple[str, int]]) -> Json:
    """Payout rows by market; a market that is not given has no rows."""
    rows = {
        market: [{"combination": combination, "payout": amount} for combination, amount in pairs]
        for market, pairs in pairs_by_market.items()
    }
    return NO_PAYOUTS | rows


def payouts_123() -> Json:
    """The payouts of a race that boats 1, 2 and 3 finished in this order."""
    return payouts(
        trifecta=[("1-2-3", 1230)],
        trio=[("1=2=3", 410)],
        exacta=[("1-2", 520)],
        quinella=[("1=2", 330)],
        quinella_place=[("1=2", 150), ("1=3", 210), ("2=3", 340)],
        win=[("1", 160)],
        place=[("1", 110), ("2", 190)],
    )


def result(*places: int | None, **changes: Any) -> Json:
    """A result with the places of boats 1 to 6, by default in the order of their numbers."""
    finish = places or (1, 2, 3, 4, 5, 6)
    race = {
        "race_date": DAY,
        "race_stadium_number": 7,
        "race_number": 4,
        **WEATHER,
        "race_technique_number": 1,
        "payouts": payouts_123(),
        "boats": [result_boat(number, place) for number, place in enumerate(finish, start=1)],
    }
    return race | changes


def blank_result(**changes: Any) -> Json:
    """The source's document of a race without a result."""
    boats = [null_boat(result_boat(number, None)) for number in range(1, 7)]
    return result(boats=boats, payouts=NO_PAYOUTS, race_technique_number=None, **NO_WEATHER) | changes
