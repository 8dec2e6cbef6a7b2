"""The rate of requests to one host, by the generic cell rate algorithm (GCRA). Times and durations are in seconds.

The algorithm keeps one time, `full_at`: when the budget will be whole again. In the textbook a request uses up its
share when it is allowed. Here a request that has not ended yet holds its share, and the share begins to come back when
the request ends. The server sees a request at some time in between, so in any span of T seconds it sees at most
`burst + rate * T` requests, however slow the network or the process is. The price: a burst that is smaller than
rate * duration of a request is the limit, not the rate.
"""

from __future__ import annotations

# Of rounding: a share that is due in less than this is due.
ROUNDING_S = 1e-6


def wait_s(rate: float, burst: int, full_at: float, unfinished: int, now: float) -> float | None:
    """How long a request must wait; 0 if it may be made now; None if it must first wait for an unfinished one to end.

    `rate` is in requests per second, `unfinished` the number of requests that were allowed and have not ended.
    """
    room = burst - unfinished
    if room < 1:
        return None
    # A clock that was set back must not block: the budget is never more than empty.
    missing_s = min(max(0.0, full_at - now), room / rate)
    wait = missing_s - (room - 1) / rate
    return wait if wait > ROUNDING_S else 0.0


def after_request(rate: float, full_at: float, now: float) -> float:
    """`full_at` after a request ended."""
    return max(full_at, now) + 1 / rate
