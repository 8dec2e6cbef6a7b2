"""Defines the delays of a loop after failed units."""

from __future__ import annotations

import random

from shared.backoff import Backoff

# A database outage is over in seconds: a longer maximum would only delay the recovery. The jitter prevents
# replicas from retrying at the same time.
LOOP_BACKOFF = Backoff(first_s=0.1, max_s=3.0, jitter=0.5, random=random.random)
