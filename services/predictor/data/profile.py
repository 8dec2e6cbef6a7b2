"""Source profiles: which measures of a source play which role.

Features, network and policy know only entries with measures and categories, events with a venue, and a history per
entity. Everything specific to boat racing is in this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, field_serializer


class Profile(BaseModel):
    """`late`: measures, categories and event fields that a recorded card holds as of the end of its day, whenever it
    was published. They are read only once the event was observed: earlier, they would leak the future.

    `ability`: the card's measure that says most about an entity's strength; decisive for a new entity.
    `equipment`: the category that identifies the equipment lent to an entity, within a venue.
    `pace`: the observed measure whose difference from the event's mean indicates speed; lower is faster.
    `timing`: the observed measure that predicts the start timing.
    `false_start`, `absent`: codes of an outcome. `identities`: categories with too many values to be classes.
    `win_market`: the market of single slots, on which the policy bets. `trend_market`: its amount defines the trend.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    slots: int
    late: frozenset[str] = frozenset()
    ability: str | None = None
    equipment: str | None = None
    pace: str | None = None
    timing: str | None = None
    false_start: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()
    identities: frozenset[str] = frozenset()
    condition_codes: frozenset[str] = frozenset()
    win_market: str = "win"
    trend_market: str = "trifecta"

    @field_serializer("late", "false_start", "absent", "identities", "condition_codes", when_used="json")
    def _sorted(self, values: frozenset[str] | frozenset[int]) -> list[Any]:
        """Sorted, because a set has no order and a model's version is a hash of the JSON."""
        return sorted(values)


BOATRACE = Profile(
    name="boatrace",
    slots=6,
    late=frozenset({"weight_kg", "hull_top2_percent", "hull_top3_percent", "hull_number", "distance_m"}),
    ability="national_points",
    equipment="motor_number",
    pace="exhibition_time_s",
    timing="exhibition_start_timing_s",
    false_start=frozenset({14}),
    absent=frozenset({15, 16}),
    identities=frozenset({"motor_number", "hull_number"}),
    condition_codes=frozenset({"weather", "wind_direction"}),
)

PROFILES = {"boatrace": BOATRACE, "simulator": BOATRACE}
"""Keyed by the part of a source's name before the first hyphen, like the cleaner's formats."""


def source_of(event_key: str) -> str:
    return event_key.split(":", 1)[0]


def profile_of(profiles: Mapping[str, Profile], source: str) -> Profile | None:
    """Looks up the part of the source's name before the first hyphen, like the cleaner's formats."""
    return profiles.get(source.split("-", 1)[0])
