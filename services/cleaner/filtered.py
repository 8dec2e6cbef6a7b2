"""The cleaner's result for a valid record that contains no fact."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filtered:
    """The record has no output. `reason` is one of a few fixed phrases; it becomes a metric label."""

    reason: str
