"""What the core must be told of a source: which of its measures play which part.

The core (features, network, policy) knows entries with measures and categories, an event with a venue, and a history
per entity. All that is boat racing stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, field_serializer


class Profile(BaseModel):
    """`late`: measures, categories and event fields that a recorded card holds as they were at the end of its day,
    whenever it was published: reading them before the event was observed would be reading the future.

    `ability`: the card's measure that tells most of an entity's strength; a new entity's rating leans on it.
    `equipment`: the category that names what an entity was lent (the same name at the same venue is the same thing).
    `pace`: the observed measure whose distance from the event's mean tells speed; lower is faster.
    `timing`: the observed measure that foretells how the entry starts.
    `false_start`, `absent`: codes of an outcome. `identities`: categories with too many values to be classes.
    `win_market`: of single selections by slot, backed by the policy. `trend_market`: whose amount is the trend.
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
    def _in_order(self, found: frozenset[str] | frozenset[int]) -> list[Any]:
        """A set has no order of its own, and a model's version is a hash of what is written."""
        return sorted(found)


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
"""By the part of a source's name before the first hyphen, like the cleaner's formats."""


def source_of(event_key: str) -> str:
    return event_key.split(":", 1)[0]


def profile_of(profiles: Mapping[str, Profile], source: str) -> Profile | None:
    """By the part of the source's name before the first hyphen, like the cleaner's formats."""
    return profiles.get(source.split("-", 1)[0])
