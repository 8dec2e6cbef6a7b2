"""Defines the delays of a loop after failed units."""

from __future__ import annotations

import random

from shared.backoff import Backoff

# A database outage is over in seconds: a longer maximum would only delay the recovery. Jitter, so that replicas do not
# retry in step.
LOOP_BACKOFF = Backoff(first_s=0.1, max_s=3.0, jitter=0.5, random=random.random)
