"""Reads the boat race format: converts a race's slice of programs, previews or results to a fact.

The tables below list each numeric field of the source, its name in the fact (which ends with the unit) and its bounds.
The bounds are far wider than the values of 260 days, but catch a value in another unit or from another column.
Anomalies of the source are handled in `rules`, `payouts` and `status`.
"""

from datetime import date, datetime
from typing import Any, NamedTuple

from services.cleaner import rules
from services.cleaner.filtered import Filtered
from services.cleaner.payouts import missing_markets, transactions_of
from services.cleaner.status import ResultPage, has_outcome, status_of
from services.cleaner.values import NumericField, day, integer, integers, local_time, midnight, numbers, text
from shared.errors import InvalidEvent
from shared.events import Listed, Observed, RawEvent, Settled, entity_key_of, event_key_of, session_key_of

Json = dict[str, Any]

OBSERVED_AFTER_S = 0.0
"""Delay of an archived preview's `known_at` after the betting deadline. The archive has only the last version, without
its time. The deadline is an optimistic assumption: 72% of previews were published later."""

SETTLED_AFTER_S = 900.0
"""Delay of an archived result's `known_at` after the betting deadline. The archive lacks its time too. Payouts are
announced about 15 minutes after the deadline; the source itself published them a median of 44 minutes after it."""

NOTHING_OBSERVED = Filtered("nothing observed yet")

CARD_CODES = (
    NumericField("race_grade_number", "grade", 1, 5),
    NumericField("race_distance", "distance_m", 100, 10_000),
)
RACER_CODES = (
    NumericField("racer_class_number", "class", 1, 4),
    NumericField("racer_branch_number", "branch", 1, 47),
    NumericField("racer_birthplace_number", "birthplace", 1, 47),
)
# The class is stored twice: the entity has that of its newest card, the entry that at the time of this event.
ENTRY_CODES = (
    RACER_CODES[0],
    NumericField("racer_assigned_motor_number", "motor_number", 1, 999),
    NumericField("racer_assigned_boat_number", "hull_number", 1, 999),
)
# Despite its name, "top 1 percent" is not a percentage but the mean number of points per race, at most about 12.
CARD_MEASURES = (
    NumericField("racer_weight", "weight_kg", 30, 120),
    NumericField("racer_age", "age_years", 10, 110),
    NumericField("racer_flying_count", "flying_count", 0, 20),
    NumericField("racer_late_count", "late_count", 0, 20),
    NumericField("racer_average_start_timing", "average_start_timing_s", 0, 5),
    NumericField("racer_national_top_1_percent", "national_points", 0, 15),
    NumericField("racer_national_top_2_percent", "national_top2_percent", 0, 100),
    NumericField("racer_national_top_3_percent", "national_top3_percent", 0, 100),
    NumericField("racer_local_top_1_percent", "local_points", 0, 15),
    NumericField("racer_local_top_2_percent", "local_top2_percent", 0, 100),
    NumericField("racer_local_top_3_percent", "local_top3_percent", 0, 100),
    NumericField("racer_assigned_motor_top_2_percent", "motor_top2_percent", 0, 100),
    NumericField("racer_assigned_motor_top_3_percent", "motor_top3_percent", 0, 100),
    NumericField("racer_assigned_boat_top_2_percent", "hull_top2_percent", 0, 100),
    NumericField("racer_assigned_boat_top_3_percent", "hull_top3_percent", 0, 100),
)
WEATHER_CODES = (
    NumericField("race_weather_number", "weather", 1, 5),
    NumericField("race_wind_direction_number", "wind_direction", 1, 17),
)
WEATHER_MEASURES = (
    NumericField("race_wind", "wind_m_s", 0, 60),
    NumericField("race_wave", "wave_cm", 0, 300),
    NumericField("race_temperature", "air_temperature_c", -40, 55),
    NumericField("race_water_temperature", "water_temperature_c", -5, 45),
)
COURSE = (NumericField("racer_course_number", "course", 1, 6),)
PREVIEW_MEASURES = (
    NumericField("racer_start_timing", "exhibition_start_timing_s", -5, 10),
    NumericField("racer_weight", "weight_kg", 0, 120),
    NumericField("racer_weight_adjustment", "weight_adjustment_kg", 0, 30),
    NumericField("racer_exhibition_time", "exhibition_time_s", 0, 60),
    NumericField("racer_tilt_adjustment", "tilt_deg", -3, 6),
)
OUTCOME_CODES = (NumericField("racer_place_number", "place", 1, rules.LAST_CODE), *COURSE)
START_TIMING = (NumericField("racer_start_timing", "start_timing_s", -5, 10),)
TECHNIQUE = (NumericField("race_technique_number", "technique", 1, 6),)


class RaceId(NamedTuple):
    """Date, venue and number of a race, as its slice states them."""

    day: date
    venue: int
    number: int


def race_id_of(raw: RawEvent) -> RaceId:
    """The race of the slice. Raises InvalidEvent if it is not the race of the event key."""
    race = RaceId(
        day(raw.body, "race_date"),
        integer(raw.body, "race_stadium_number", 1, 24),
        integer(raw.body, "race_number", 1, 12),
    )
    if event_key_of(raw.source, *race) != raw.event_key:
        raise InvalidEvent(f"expected the race {raw.event_key}, got {event_key_of(raw.source, *race)}")
    return race


def read_program(raw: RawEvent) -> Listed:
    """Convert a race of the programs feed. A card whose entries are all null is listed with six empty entries.

    An archived card counts as known from the start of its day, because cards are published before the first race. Its
    weight, deadline, distance and hull are nevertheless the day's last values, so features must not use them.
    """
    race, body = race_id_of(raw), raw.body
    boats = rules.six_boats(body.get("boats"))
    racers = [rules.racer_of(boat) for boat in boats]
    title = rules.single_spaced(text(body, "race_title"))
    codes = integers(body, CARD_CODES)
    return Listed.model_validate(
        _fact(raw, midnight(race.day), None)
        | {
            "session": {
                "session_key": session_key_of(raw.source, race.day, race.venue),
                "date": race.day,
                "venue": race.venue,
                "title": title,
                "grade": codes.get("grade"),
            },
            "number": race.number,
            "scheduled_at": local_time(body, "race_closed_at", on=race.day),
            "title": rules.single_spaced(text(body, "race_subtitle")),
            "distance_m": codes.get("distance_m"),
            "card_key": rules.card_key(race.venue, race.number, title, racers),
            "entries": [_entry(raw.source, boat, racer) for boat, racer in zip(boats, racers, strict=True)],
        }
    )


def read_preview(raw: RawEvent) -> Observed | Filtered:
    """Convert a race of the previews feed; Filtered if it has neither weather nor a measured boat."""
    race_id_of(raw)
    boats = rules.six_boats(raw.body.get("boats"))
    conditions = _conditions(raw.body)
    entries = [_observation(boat) for boat in boats]
    if not conditions and not any(entry["measures"] or "course" in entry for entry in entries):
        return NOTHING_OBSERVED
    fact = _fact(raw, None, OBSERVED_AFTER_S)
    return Observed.model_validate(fact | {"conditions": conditions, "entries": entries})


def read_result(raw: RawEvent) -> Settled | Filtered:
    """Convert a race of the results feed; `status_of` decides its status, and whether it is Filtered."""
    race_id_of(raw)
    body = raw.body
    boats = rules.six_boats(body.get("boats"))
    outcomes = [_outcome(raw.source, boat) for boat in boats]
    transactions = transactions_of(body.get("payouts"))
    conditions, technique = _conditions(body), integers(body, TECHNIQUE)
    blank = not conditions and not technique and all(_is_blank(boat) for boat in boats)
    status = status_of(ResultPage(outcomes, bool(transactions), blank, raw.historical))
    if isinstance(status, Filtered):
        if raw.ordinal == 1:
            return status
        # An earlier version of this page was different. Values that it had are missing now, so the loader must get this
        # version to record the regression.
        status = "provisional"
    fields = _fact(raw, None, SETTLED_AFTER_S) | {
        "status": status,
        "technique": technique.get("technique"),
        "conditions": conditions,
        "outcomes": [outcome for outcome in outcomes if has_outcome(outcome)],
        "transactions": transactions,
    }
    if status == "settled":
        places = [outcome.get("place") for outcome in outcomes]
        starters = sum(not outcome.get("refunded", False) for outcome in outcomes)
        rules.check_ranking(places)
        fields["missing_markets"] = missing_markets(places, starters, transactions)
    return Settled.model_validate(fields)


def _fact(raw: RawEvent, known_at: datetime | None, known_after_s: float | None) -> Json:
    """The fields that all facts share. A live record became known when it was published, or else when it was fetched;
    for an archived one the given `known_at` or `known_after_s` is used."""
    if not raw.historical:
        known_at, known_after_s = raw.published_at or raw.fetched_at, None
    return {
        "source": raw.source,
        "event_key": raw.event_key,
        "known_at": known_at,
        "known_after_s": known_after_s,
        "document_hash": raw.document_hash,
    }


def _entry(source: str, boat: Json, racer: int | None) -> Json:
    measures = numbers(boat, CARD_MEASURES)
    rules.drop_empty_rates(measures)
    entity = racer and {
        "entity_key": entity_key_of(source, racer),
        "name": text(boat, "racer_name"),
        "categories": integers(boat, RACER_CODES),
    }
    codes = integers(boat, ENTRY_CODES)
    return {"slot": boat["racer_boat_number"], "entity": entity, "measures": measures, "categories": codes}


def _conditions(body: Json) -> Json:
    conditions: Json = integers(body, WEATHER_CODES)
    conditions |= numbers(body, WEATHER_MEASURES)
    rules.drop_placeholder_weather(conditions)
    return conditions


def _observation(boat: Json) -> Json:
    measures = numbers(boat, PREVIEW_MEASURES)
    rules.drop_unmeasured(measures)
    return {"slot": boat["racer_boat_number"], "measures": measures, **integers(boat, COURSE)}


def _outcome(source: str, boat: Json) -> Json:
    """The outcome of a boat; unknown values have no key."""
    outcome: Json = integers(boat, OUTCOME_CODES)
    outcome |= numbers(boat, START_TIMING)
    outcome["slot"] = boat["racer_boat_number"]
    rules.move_place_code(outcome)
    racer = rules.racer_of(boat)
    if racer is not None:
        outcome["entity_key"] = entity_key_of(source, racer)
    return outcome


def _is_blank(boat: Json) -> bool:
    """Whether the row has only the boat's number. (`racer_number` 0 is not blank: the page was being written.)"""
    return all(value is None for key, value in boat.items() if key != "racer_boat_number")
