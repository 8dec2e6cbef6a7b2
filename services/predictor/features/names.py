"""Names, order and groups of the feature values. Fitted on training data and stored in the model's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from services.predictor.data.events import Events, Floats, Ints
from services.predictor.data.profile import Profile
from services.predictor.features.form import ENTITY, ENTITY_LANE, ENTITY_VENUE, EQUIPMENT, LANE, MEETING

Group = Literal["card", "observation", "history"]
GROUPS: tuple[Group, Group, Group] = ("card", "observation", "history")

# A category with more values is an identity, not a class. The code of a condition may have more.
MAX_CATEGORY_VALUES, MAX_CODE_VALUES = 8, 20
# An observed measure relative to the entity's past: in the group observation, but unknown without history too.
OVER_OWN = "_over_own"
EVENT_NUMBERS = ("number", "distance_m")
RATING_VALUES = (
    "rating", "lane_offset", "venue_offset", "equipment_rating", "lane_rating", "strength", "log_chance", "starts",
    "rest_days", "equipment_starts",
)  # fmt: skip
HISTORY_VALUES = (
    *RATING_VALUES,
    *(trace.name for trace in (*ENTITY, *ENTITY_LANE, *ENTITY_VENUE, *MEETING, *EQUIPMENT)),
    *(f"lane_{trace.name}" for trace in LANE),
)


class FeatureNames(BaseModel):
    """What the features read of an event. `venues`: those seen in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Profile
    measures: tuple[str, ...]
    observed: tuple[str, ...]
    conditions: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    codes: dict[str, tuple[float, ...]]
    venues: tuple[int, ...]

    @property
    def history_values(self) -> tuple[str, ...]:
        return HISTORY_VALUES

    @property
    def observed_values(self) -> tuple[str, ...]:
        measured = [name for name in (self.profile.pace, self.profile.timing) if name in self.observed]
        return (
            *(f"observed_{name}" for name in self.observed),
            "observed_course",
            "observed_course_gain",
            *(f"{name}{OVER_OWN}" for name in measured),
        )

    @property
    def entry_values(self) -> tuple[str, ...]:
        return (*self.measures, *self.history_values, *self.observed_values)

    @property
    def entry_groups(self) -> tuple[Group, ...]:
        """The group of each of `entry_values`."""
        counts: tuple[tuple[Group, int], ...] = (
            ("card", len(self.measures)),
            ("history", len(self.history_values)),
            ("observation", len(self.observed_values)),
        )
        return tuple(group for group, count in counts for _ in range(count))

    @property
    def event_values(self) -> tuple[str, ...]:
        return (*EVENT_NUMBERS, *self.conditions)

    @property
    def event_groups(self) -> tuple[Group, ...]:
        late = self.profile.late | set(self.conditions)
        return tuple("observation" if name in late else "card" for name in self.event_values)

    def venue_index(self, venues: Ints) -> Ints:
        """(n,): index of each venue, from 1; 0 for one unseen in training."""
        known = np.array(sorted(self.venues), dtype=np.int64)
        at = np.searchsorted(known, venues).clip(0, max(len(known) - 1, 0))
        return np.where(known[at] == venues, at + 1, 0) if len(known) else np.zeros(len(venues), dtype=np.int64)


def feature_names(events: Events, profile: Profile) -> FeatureNames:
    """Everything with a known value in these events: nothing can be learned from what is never known."""
    conditions = {name: events.conditions[name] for name in _known_names(events.conditions)}
    codes = {"grade": events.grade} | {
        name: conditions[name] for name in sorted(profile.condition_codes & conditions.keys())
    }
    code_values = {name: tuple(np.unique(column[np.isfinite(column)]).tolist()) for name, column in codes.items()}
    categories = {
        name: tuple(sorted({value for value in column.ravel() if value is not None}))
        for name, column in sorted(events.categories.items())
        if name not in profile.identities | profile.late
    }
    return FeatureNames(
        profile=profile,
        measures=tuple(name for name in _known_names(events.measures) if name not in profile.late),
        observed=tuple(_known_names(events.observed)),
        conditions=tuple(name for name in conditions if name not in profile.condition_codes),
        categories={name: column for name, column in categories.items() if 1 < len(column) <= MAX_CATEGORY_VALUES},
        codes={name: column for name, column in code_values.items() if 1 < len(column) <= MAX_CODE_VALUES},
        venues=tuple(sorted({int(venue) for venue in events.venue})),
    )


def _known_names(values: Mapping[str, Floats]) -> list[str]:
    return sorted(name for name, column in values.items() if np.isfinite(column).any())
