"""Which days train and which validate."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Events
from services.predictor.data.instants import day_of
from shared.errors import ConfigError

VALIDATION_SHARE = 0.15


class Split(NamedTuple):
    """Days (inclusive): trained up to `train_to`, validated after it up to `validate_to`."""

    train_to: date
    validate_to: date


def split_of(events: Events, validate_days: int | None = None) -> Split:
    """The newest days validate: so many, or a share of all. Raises ConfigError where there is only one day."""
    days = np.unique(events.day[events.status == "settled"])
    if len(days) < 2:
        raise ConfigError(f"training needs settled events of at least two days, found {len(days)}")
    kept = max(1, round(len(days) * VALIDATION_SHARE)) if validate_days is None else validate_days
    if kept >= len(days):
        raise ConfigError(f"{kept} days to validate on leave none of {len(days)} to train on: take fewer")
    return Split(day_of(int(days[-1 - kept])), day_of(int(days[-1])))
