"""Splits the settled days into training and validation days."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Events
from services.predictor.data.instants import day_of
from shared.errors import ConfigError

VALIDATION_SHARE = 0.15


class Split(NamedTuple):
    """Inclusive last days: training ends on `train_to`, validation covers the days after it up to `validate_to`."""

    train_to: date
    validate_to: date


def split_of(events: Events, validate_days: int | None = None) -> Split:
    """The newest days validate: `validate_days`, or a share of all. Raises ConfigError if no training day is left."""
    days = np.unique(events.day[events.status == "settled"])
    if len(days) < 2:
        raise ConfigError(f"training needs settled events on at least two days, found {len(days)}")
    count = max(1, round(len(days) * VALIDATION_SHARE)) if validate_days is None else validate_days
    if count >= len(days):
        raise ConfigError(f"{count} validation days leave none of the {len(days)} settled days for training: use fewer")
    return Split(day_of(int(days[-1 - count])), day_of(int(days[-1])))
