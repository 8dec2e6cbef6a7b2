"""How long to wait for a broker or a database that is there and still prepares what was asked of it (errors.NotReady).

A Kafka that was never used makes its internal topics at the first request for them: the positions of groups
(`__consumer_offsets`, 50 partitions) and transactions. Until they have leaders it answers that it is not ready: for
half a second on a quiet machine, for tens of seconds on a slow one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from shared.errors import NotReady, TransientError
from shared.retry import Retry

# For commands: their user waits for nothing else.
FIRST_USE_S = 60.0
# For services: their loops try again, a heartbeat must go on, and a caller over HTTP gets a Retry-After.
BRIEF_S = 2.0


def until_ready(
    total_s: float, tell: Callable[[TransientError], object], sleep: Callable[[float], object] = time.sleep
) -> Retry:
    """The time is the only limit: how many tries fit into it depends on the machine."""
    return Retry(
        tries=sys.maxsize, first_delay_s=0.05, max_delay_s=1.0, total_s=total_s, on=NotReady, tell=tell, sleep=sleep
    )


def briefly() -> Retry:
    """For callers that must continue soon."""
    return until_ready(BRIEF_S, lambda _: None)


def until_first_use(say: Callable[[str], object], sleep: Callable[[float], object] = time.sleep) -> Retry:
    """For a command: `say` gets one line, at the first wait of all."""
    waits: list[TransientError] = []

    def tell(error: TransientError) -> None:
        if not waits:
            say(f"waiting up to {FIRST_USE_S:.0f} s: {error}")
        waits.append(error)

    return until_ready(FIRST_USE_S, tell, sleep)
