"""The error of the suite."""

from __future__ import annotations


class RunStuckError(Exception):
    """An expected condition did not come true. The message names it."""
