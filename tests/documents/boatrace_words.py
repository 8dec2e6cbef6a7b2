"""What the boat race source measures, in words. Pure. The names are the cleaner's (services/cleaner/boatrace.py)."""

from __future__ import annotations

from tests.documents.feature_words import NUMBER, SECONDS, Meaning, Words

POINTS, PERCENT, KILOGRAM, CELSIUS = "points a race", "%", "kg", "degrees C"

BOATRACE_WORDS = Words(
    measures={
        "age_years": Meaning("age of the racer", "years"),
        "average_start_timing_s": Meaning("mean start timing of the rating period", SECONDS),
        "flying_count": Meaning("false starts of the rating period", NUMBER),
        "late_count": Meaning("late starts of the rating period", NUMBER),
        "national_points": Meaning("mean points of the racer, everywhere", POINTS),
        "national_top2_percent": Meaning("races of the racer among the first two, everywhere", PERCENT),
        "national_top3_percent": Meaning("races of the racer among the first three, everywhere", PERCENT),
        "local_points": Meaning("mean points of the racer, at this venue", POINTS),
        "local_top2_percent": Meaning("races of the racer among the first two, at this venue", PERCENT),
        "local_top3_percent": Meaning("races of the racer among the first three, at this venue", PERCENT),
        "motor_top2_percent": Meaning("races with the motor among the first two", PERCENT),
        "motor_top3_percent": Meaning("races with the motor among the first three", PERCENT),
        "hull_top2_percent": Meaning("races with the hull among the first two", PERCENT),
        "hull_top3_percent": Meaning("races with the hull among the first three", PERCENT),
        "weight_kg": Meaning("weight of the racer", KILOGRAM),
    },
    observed={
        "exhibition_start_timing_s": Meaning("start timing of the exhibition", SECONDS),
        "exhibition_time_s": Meaning("time of the exhibition lap", SECONDS),
        "tilt_deg": Meaning("tilt of the motor", "degrees"),
        "weight_adjustment_kg": Meaning("ballast", KILOGRAM),
        "weight_kg": Meaning("weight of the racer, on the scales", KILOGRAM),
    },
    conditions={
        "air_temperature_c": Meaning("temperature of the air", CELSIUS),
        "water_temperature_c": Meaning("temperature of the water", CELSIUS),
        "wave_cm": Meaning("height of the waves", "cm"),
        "wind_m_s": Meaning("speed of the wind", "m/s"),
    },
    classes={"class": ("class of the racer: 1 A1, 2 A2, 3 B1, 4 B2", ("1", "2", "3", "4"))},
    codes={
        "grade": ("grade of the meeting", (1.0, 2.0, 3.0, 4.0, 5.0)),
        "weather": ("the source's code of the weather", (1.0, 2.0, 3.0, 4.0, 5.0)),
        "wind_direction": ("the source's code of the wind's direction", tuple(float(code) for code in range(1, 18))),
    },
)
