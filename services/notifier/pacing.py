"""Leases, back-off and rate limits of the sender, computed from given times."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from shared.backoff import Backoff
from shared.events import Frozen


class DeliveryPolicy(Frozen):
    """The sender's parameters, in seconds of real time."""

    poll_s: float = Field(default=0.25, gt=0, description="interval at which an idle sender polls the ledger")
    lease_s: float = Field(
        default=60,
        gt=0,
        description="a message in `sending` for longer has lost its sender; must exceed any send timeout",
    )
    backoff_first_s: float = Field(
        default=2, gt=0, description="wait after the first failed attempt; doubles with each further one"
    )
    backoff_max_s: float = Field(default=300, gt=0, description="maximum wait between two attempts")
    retry_after_crash: frozenset[str] = Field(
        default=frozenset(),
        description="kinds of channels that send again, perhaps twice, if delivery is not known; others park",
    )

    def backoff_s(self, failures: int) -> float:
        """The wait after this number of consecutive failures (at least 1)."""
        return Backoff(self.backoff_first_s, self.backoff_max_s).delay_s(failures)

    def crash_policy(self, kind: str) -> Literal["park", "retry"]:
        return "retry" if kind in self.retry_after_crash else "park"


class RateLimit(NamedTuple):
    """A channel's rate limit: `burst` messages at once, then `per_s` a second."""

    burst: int
    per_s: float


class TokenBucket:
    """Holds up to `burst` tokens, refilled at `per_s`; a message takes one. Times are seconds of a monotonic clock."""

    def __init__(self, rate: RateLimit, now_s: float) -> None:
        self.rate = rate
        self._tokens = float(rate.burst)
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next message may be sent; 0 if it may be sent now."""
        self._refill(now_s)
        return max(0.0, (1.0 - self._tokens) / self.rate.per_s)

    def take(self, now_s: float) -> None:
        self._refill(now_s)
        self._tokens -= 1.0

    def put_back(self, now_s: float) -> None:
        """Return a token that was taken."""
        self._refill(now_s)
        self._tokens = min(float(self.rate.burst), self._tokens + 1.0)

    def is_full(self, now_s: float) -> bool:
        self._refill(now_s)
        return self._tokens >= self.rate.burst

    def _refill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._at_s) * self.rate.per_s
        self._tokens = min(float(self.rate.burst), self._tokens + gained)
        self._at_s = max(self._at_s, now_s)
