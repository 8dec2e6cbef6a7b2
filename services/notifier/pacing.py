"""How delivery paces itself: leases, back-off and rate limits, as arithmetic over given times."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from shared.backoff import Backoff
from shared.events import Frozen


class Delivery(Frozen):
    """The sender's settings; all in real seconds."""

    poll_s: float = Field(default=0.25, gt=0, description="how long an idle sender waits before it looks again")
    lease_s: float = Field(
        default=60, gt=0, description="after this a message in `sending` has no sender any more; longer than any send"
    )
    backoff_first_s: float = Field(default=2, gt=0, description="the wait after a first failed try; then it doubles")
    backoff_max_s: float = Field(default=300, gt=0, description="the longest wait between two tries")
    retry_undecided: frozenset[str] = Field(
        default=frozenset(),
        description="channels that rather tell twice than never when a sender died in the act; the others park",
    )

    def backoff_s(self, failures: int) -> float:
        """The wait after so many failures in a row, 1 or more."""
        return Backoff(self.backoff_first_s, self.backoff_max_s).delay_s(failures)

    def undecided(self, channel: str) -> Literal["park", "retry"]:
        return "retry" if channel in self.retry_undecided else "park"


class Rate(NamedTuple):
    """What a channel bears: `burst` messages at once, then `per_s` a second."""

    burst: int
    per_s: float


class TokenBucket:
    """Holds up to `burst` tokens, refilled at `per_s`; a message takes one. Times are of any steady clock, seconds."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """How long until a message may go; 0 when it may go now."""
        self._refill(now_s)
        return max(0.0, (1.0 - self._tokens) / self._rate.per_s)

    def take(self, now_s: float) -> None:
        self._refill(now_s)
        self._tokens -= 1.0

    def _refill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._at_s) * self._rate.per_s
        self._tokens = min(float(self._rate.burst), self._tokens + gained)
        self._at_s = max(self._at_s, now_s)
