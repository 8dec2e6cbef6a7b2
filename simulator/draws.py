"""Seeded streams of random numbers: every part of the season is drawn from a stream named by what it is.

A stream depends on nothing but the season's seed and its own name, so one day can be drawn without the days before.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """What a stream is for; the numbers are part of the seed and must not change."""

    RACERS = 1
    CARD = 2
    LOCAL = 3
    VENUE = 4
    MEETING = 5
    PROGRAM = 6
    CALLED_OFF = 7
    DAY = 8
    LIVE = 9
    LISTED_TRUTH = 10
    ROSTER = 11
    BLANKED = 12
    FAILURES = 13
    LEARNER = 14


def stream(seed: int, draw: Draw, *keys: int) -> np.random.Generator:
    """The generator of one (seed, purpose, keys); keys are natural numbers."""
    return np.random.default_rng((seed, int(draw), *keys))
