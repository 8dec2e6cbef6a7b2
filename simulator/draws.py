"""Seeded random number streams: each part of the season has its own stream.

A stream depends only on the season's seed, its purpose and its keys, so one day can be drawn without the days before.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """The purpose of a stream. The numbers are part of the seed and must not change."""

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
    ATTACKS = 15


def stream(seed: int, draw: Draw, *keys: int) -> np.random.Generator:
    """The generator for (seed, purpose, keys). Keys are integers of 0 or more."""
    return np.random.default_rng((seed, int(draw), *keys))
