"""Retry policies for a broker or a database that is reachable but not ready (errors.NotReady).

A new Kafka creates its internal topics at the first request for them: those of group positions (`__consumer_offsets`,
50 partitions) and of transactions. Until they have leaders it answers that it is not ready: for half a second on an
idle machine, for tens of seconds on a slow one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from shared.errors import NotReady, TransientError
from shared.retry import Retry

# For commands, which have nothing else to do.
FIRST_USE_S = 60.0
# For services. Their loops retry anyway, heartbeats must continue, and HTTP clients get a Retry-After.
BRIEF_S = 2.0


def retry_until_ready(
    total_s: float, on_first_failure: Callable[[TransientError], object], sleep: Callable[[float], object] = time.sleep
) -> Retry:
    """Retries on NotReady for at most `total_s`. There is no limit of tries, because their speed depends on the
    machine."""
    return Retry(
        tries=sys.maxsize,
        first_delay_s=0.05,
        max_delay_s=1.0,
        total_s=total_s,
        retryable=NotReady,
        on_first_failure=on_first_failure,
        sleep=sleep,
    )


def retry_briefly() -> Retry:
    """Retries on NotReady for at most BRIEF_S."""
    return retry_until_ready(BRIEF_S, lambda _: None)


def retry_until_first_use(print_line: Callable[[str], object], sleep: Callable[[float], object] = time.sleep) -> Retry:
    """Retries on NotReady for at most FIRST_USE_S. `print_line` gets one line at the first wait."""
    waits: list[TransientError] = []

    def print_first(error: TransientError) -> None:
        if not waits:
            print_line(f"waiting up to {FIRST_USE_S:.0f} s: {error}")
        waits.append(error)

    return retry_until_ready(FIRST_USE_S, print_first, sleep)
