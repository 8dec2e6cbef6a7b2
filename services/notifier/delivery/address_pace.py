"""Decides which addresses may be sent to now: their rate limits, the pace that people want, and pauses after failures.

Times are seconds of a monotonic clock, given by the caller. The state is lost with the process: a new sender begins
with full buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.notifier.pacing import DeliveryPolicy, RateLimit, TokenBucket

PaceOf = Callable[[str], RateLimit | None]


class AddressPaces:
    """`rate` is the channel's limit for each address; `pace_of` is the pace of an address, which may change."""

    def __init__(self, rate: RateLimit, pace_of: PaceOf, delivery_policy: DeliveryPolicy) -> None:
        self._rate = rate
        self._pace_of = pace_of
        self._delivery_policy = delivery_policy
        self._addresses: dict[str, _AddressState] = {}

    def paused(self, now_s: float) -> list[str]:
        """The addresses to which nothing may be sent: their channel is busy, or their rate limit is reached."""
        return [address for address, state in self._states(now_s) if state.is_paused(now_s)]

    def paced(self, now_s: float) -> list[str]:
        """The addresses to which only alerts may be sent."""
        return [address for address, state in self._states(now_s) if state.is_paced(now_s)]

    def take(self, address: str, now_s: float) -> None:
        """A request is sent to the address."""
        self._state(address, now_s).rate.take(now_s)

    def take_pace(self, address: str, now_s: float) -> bool:
        """A message is sent to the people there. Returns whether it took the last token of their pace."""
        pace = self._state(address, now_s).pace
        if pace is None:
            return False
        pace.take(now_s)
        return pace.wait_s(now_s) > 0

    def fail(self, address: str, now_s: float, retry_after_s: float | None) -> float:
        """Pause the address, since the next message would fail as well; returns for how many seconds."""
        state = self._state(address, now_s)
        state.failures += 1
        # The maximum also limits the wait that the channel asks for: a response must not stop a channel for good.
        requested_s = self._delivery_policy.backoff_s(state.failures) if retry_after_s is None else retry_after_s
        pause_s = min(requested_s, self._delivery_policy.backoff_max_s)
        state.paused_until_s = now_s + pause_s
        return pause_s

    def put_back(self, address: str, now_s: float) -> None:
        """The message was not delivered, so people did not get it."""
        if (pace := self._state(address, now_s).pace) is not None:
            pace.put_back(now_s)

    def succeed(self, address: str, now_s: float) -> None:
        self._state(address, now_s).failures = 0

    def _state(self, address: str, now_s: float) -> _AddressState:
        state = self._addresses.setdefault(address, _AddressState(self._rate, now_s))
        state.use_pace(self._pace_of(address), now_s)
        return state

    def _states(self, now_s: float) -> Iterator[tuple[str, _AddressState]]:
        """The addresses in use. One without failures and with full buckets is forgotten."""
        for address in list(self._addresses):
            state = self._state(address, now_s)
            if state.is_idle(now_s):
                del self._addresses[address]
            else:
                yield address, state


class _AddressState:
    def __init__(self, rate: RateLimit, now_s: float) -> None:
        self.rate = TokenBucket(rate, now_s)
        self.pace: TokenBucket | None = None
        self.failures = 0
        self.paused_until_s = now_s

    def use_pace(self, pace: RateLimit | None, now_s: float) -> None:
        if pace != (self.pace and self.pace.rate):
            self.pace = None if pace is None else TokenBucket(pace, now_s)

    def is_paused(self, now_s: float) -> bool:
        return self.paused_until_s > now_s or self.rate.wait_s(now_s) > 0

    def is_paced(self, now_s: float) -> bool:
        return self.pace is not None and self.pace.wait_s(now_s) > 0

    def is_idle(self, now_s: float) -> bool:
        is_full = self.rate.is_full(now_s) and (self.pace is None or self.pace.is_full(now_s))
        return is_full and not self.failures and self.paused_until_s <= now_s
