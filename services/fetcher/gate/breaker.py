"""A circuit breaker for one host: stops requests while the host does not work. Times are in seconds.

closed     requests are made. After FAILURES failed ones in a row it opens.
open       no request is made until `until`.
half-open  one request, the probe, is made. Its success closes the breaker, its failure opens it for twice as long.

The feeds of a host share the breaker, and one broken feed must not stop the others: the breaker does not open while the
last request of another feed succeeded less than VOUCH_S ago. A success of a feed therefore ends only its own row.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["closed", "open", "half-open"]
# A server that answers 30 % of all requests with errors produces ten in a row once in 200,000 requests.
FAILURES = 10
# Longer than a restart of a server takes; doubled with each failed probe.
FIRST_OPEN_S = 10.0
MAX_OPEN_S = 300.0
# A probe usually ends within this time.
PROBE_S = 1.0
# The usual interval in which a feed is polled.
VOUCH_S = 300.0
# A success is recorded again after this time, so that not each request changes the state.
SUCCESS_AGE_S = 60.0


class CircuitBreaker(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state. `failures` in a row and `succeeded_at`, the last success, are of each feed. `probe` is the turn of the
    request that decides, `until` is the end of the open state, and `open_s` is its length."""

    state: State = "closed"
    failures: dict[str, int] = {}
    succeeded_at: dict[str, float] = {}
    until: float = 0.0
    open_s: float = 0.0
    probe: str | None = None

    def wait_s(self, now: float) -> float:
        """How long a request must wait; 0 if it may be made, as the probe unless the breaker is closed.

        While a probe is under way, the time of its end is not known: the answer is then PROBE_S.
        """
        if self.state == "closed":
            return 0.0
        if self.probe is not None:
            return PROBE_S
        return max(0.0, self.until - now)

    def with_request(self, turn: str) -> CircuitBreaker:
        """After a request was allowed. If the breaker is not closed, it is the probe."""
        if self.state == "closed":
            return self
        return msgspec.structs.replace(self, state="half-open", probe=turn)

    def with_success(self, turn: str | None, feed: str, now: float) -> CircuitBreaker:
        if self.state == "closed":
            is_recent = now - self.succeeded_at.get(feed, float("-inf")) < SUCCESS_AGE_S
            return self if is_recent and feed not in self.failures else self._closed(feed, now)
        return CircuitBreaker(succeeded_at={feed: now}) if self._is_probe(turn) else self

    def with_failure(self, turn: str | None, feed: str, now: float) -> CircuitBreaker:
        """The failure of a request that was made before the breaker opened has no effect."""
        if self.state != "closed":
            return self._opened(now) if self._is_probe(turn) else self
        succeeded_at = {name: at for name, at in self.succeeded_at.items() if name != feed and now - at < VOUCH_S}
        failures = self.failures | {feed: self.failures.get(feed, 0) + 1}
        failed = msgspec.structs.replace(self, failures=failures, succeeded_at=succeeded_at)
        return failed if succeeded_at or sum(failures.values()) < FAILURES else failed._opened(now)

    def without_probe(self, turn: str) -> CircuitBreaker:
        """After a probe whose process died: the next request is the probe."""
        return msgspec.structs.replace(self, probe=None) if self._is_probe(turn) else self

    def _closed(self, feed: str, now: float) -> CircuitBreaker:
        failures = {name: count for name, count in self.failures.items() if name != feed}
        return CircuitBreaker(failures=failures, succeeded_at=self.succeeded_at | {feed: now})

    def _opened(self, now: float) -> CircuitBreaker:
        open_s = min(MAX_OPEN_S, self.open_s * 2) if self.open_s else FIRST_OPEN_S
        return msgspec.structs.replace(self, state="open", open_s=open_s, until=now + open_s, probe=None)

    def _is_probe(self, turn: str | None) -> bool:
        return self.probe is not None and turn == self.probe
