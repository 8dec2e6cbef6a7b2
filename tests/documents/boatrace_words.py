"""Descriptions of what the boat race source measures. The names are the cleaner's (services/cleaner/boatrace.py)."""

from __future__ import annotations

from tests.documents.feature_words import NUMBER, SECONDS, Meaning, Words

POINTS, PERCENT, KILOGRAM, CELSIUS = "points per race", "%", "kg", "degrees C"

BOATRACE_WORDS = Words(
    measures={
        "age_years": Meaning("age of the racer", "years"),
        "average_start_timing_s": Meaning("mean start timing in the rating period", SECONDS),
        "flying_count": Meaning("false starts in the rating period", NUMBER),
        "late_count": Meaning("late starts in the rating period", NUMBER),
        "national_points": Meaning("mean points of the racer at all venues", POINTS),
        "national_top2_percent": Meaning("top-two finishes of the racer at all venues", PERCENT),
        "national_top3_percent": Meaning("top-three finishes of the racer at all venues", PERCENT),
        "local_points": Meaning("mean points of the racer at this venue", POINTS),
        "local_top2_percent": Meaning("top-two finishes of the racer at this venue", PERCENT),
        "local_top3_percent": Meaning("top-three finishes of the racer at this venue", PERCENT),
        "motor_top2_percent": Meaning("top-two finishes with the motor", PERCENT),
        "motor_top3_percent": Meaning("top-three finishes with the motor", PERCENT),
        "hull_top2_percent": Meaning("top-two finishes with the hull", PERCENT),
        "hull_top3_percent": Meaning("top-three finishes with the hull", PERCENT),
        "weight_kg": Meaning("weight of the racer", KILOGRAM),
    },
    observed={
        "exhibition_start_timing_s": Meaning("start timing in the exhibition", SECONDS),
        "exhibition_time_s": Meaning("exhibition lap time", SECONDS),
        "tilt_deg": Meaning("tilt of the motor", "degrees"),
        "weight_adjustment_kg": Meaning("ballast", KILOGRAM),
        "weight_kg": Meaning("weight of the racer, as weighed", KILOGRAM),
    },
    conditions={
        "air_temperature_c": Meaning("air temperature", CELSIUS),
        "water_temperature_c": Meaning("water temperature", CELSIUS),
        "wave_cm": Meaning("wave height", "cm"),
        "wind_m_s": Meaning("wind speed", "m/s"),
    },
    classes={"class": ("class of the racer: 1 A1, 2 A2, 3 B1, 4 B2", ("1", "2", "3", "4"))},
    codes={
        "grade": ("grade of the meeting", (1.0, 2.0, 3.0, 4.0, 5.0)),
        "weather": ("the source's weather code", (1.0, 2.0, 3.0, 4.0, 5.0)),
        "wind_direction": ("the source's wind direction code", tuple(float(code) for code in range(1, 18))),
    },
)
