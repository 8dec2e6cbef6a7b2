"""What the cleaner answers for a record that says nothing: no fact, and no fault either."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filtered:
    """Nothing to pass on. `reason` is one of a few fixed phrases, fit to be counted by."""

    reason: str
