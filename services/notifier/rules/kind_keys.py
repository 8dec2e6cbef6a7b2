"""What only rules about some kinds of findings have: filters, thresholds and durations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from services.notifier.kinds import PIPELINE_KINDS

_EVENT_FILTERS = frozenset({"venues", "sources", "entities", "grades"})
_FILTERS: dict[str, frozenset[str]] = {
    "tip": _EVENT_FILTERS | {"states"},
    "big-payout": _EVENT_FILTERS | {"markets"},
    "grade": _EVENT_FILTERS,
    "surprise": _EVENT_FILTERS,
    "called-off": _EVENT_FILTERS - {"entities"},
    "daily": frozenset({"sources", "markets"}),
}
KEYS_OF_KIND: Mapping[str, frozenset[str]] = MappingProxyType(
    {**_FILTERS, **dict.fromkeys(PIPELINE_KINDS, frozenset({"for"}))}
)
"""The keys that only rules about some kinds have."""
KIND_KEYS = frozenset().union(*KEYS_OF_KIND.values())


class Threshold(NamedTuple):
    """What the threshold of a kind means, and its bounds, both inclusive."""

    meaning: str
    lowest: float
    highest: float


THRESHOLDS: Mapping[str, Threshold] = MappingProxyType({
    "tip": Threshold("lowest win probability of the favourite", 0, 1),
    "big-payout": Threshold("lowest payout per 100 staked", 1, 10**12),
    "grade": Threshold("highest number of a grade: 1 is the best grade", 0, 1_000),
    "surprise": Threshold("the winner had a lower win probability", 0, 1),
    "called-off": Threshold("lowest number of events that will not take place", 1, 1_000),
})  # fmt: skip
"""By kind. Rules about other events have no threshold; those of alerts are not limited here."""
