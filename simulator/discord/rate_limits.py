"""Discord's rate limits: a window for each bucket and one for all requests of the bot.

A bucket belongs to a route and its channel, guild or webhook. The sizes are typical of what Discord announces; it does
not publish them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

# (requests, seconds) by method and route; the first match counts.
LIMITS: dict[tuple[str, str], tuple[int, float]] = {
    ("POST", "/channels/{channel}/messages"): (5, 5.0),
    ("PATCH", "/channels/{channel}/messages/{message}"): (5, 5.0),
    ("DELETE", "/channels/{channel}/messages/{message}"): (5, 1.0),
    ("POST", "/channels/{channel}/messages/{message}/threads"): (50, 300.0),
    ("PUT", "/channels/{channel}/messages/pins/{message}"): (5, 4.0),
    ("PUT", "/channels/{channel}/pins/{message}"): (5, 4.0),
    ("POST", "/webhooks/{webhook}/{token}"): (5, 2.0),
    ("PATCH", "/webhooks/{webhook}/{token}/messages/{message}"): (5, 2.0),
    ("POST", "/users/@me/channels"): (10, 60.0),
}
OTHER_LIMIT = (10, 1.0)
GLOBAL_LIMIT = (50, 1.0)
# Answers to interactions count neither for a bucket nor for the limit of the bot.
UNLIMITED = frozenset({"/interactions/{interaction}/{token}/callback"})
MAJOR = ("channel", "guild", "webhook", "token")


@dataclass
class RateWindow:
    limit: int
    seconds: float
    started_at: float
    used: int = 0

    def reset_after(self, now_s: float) -> float:
        return max(0.0, self.started_at + self.seconds - now_s)


@dataclass(frozen=True)
class RateDecision:
    """Whether a request is allowed, and the headers of its response. `retry_after_s` is 0 for an allowed one."""

    retry_after_s: float
    is_global: bool
    headers: dict[str, str]


class RateLimits:
    """Counts requests. `enabled` may be False for tests about something else."""

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._windows: dict[str, RateWindow] = {}

    def admit(self, method: str, route: str, parameters: dict[str, str], now_s: float) -> RateDecision:
        """`route`: the path with names in braces; `parameters`: their values."""
        if not self.enabled or route in UNLIMITED:
            return RateDecision(0.0, False, {})
        is_bot = "webhook" not in parameters
        everything = self._window("global", GLOBAL_LIMIT, now_s)
        if is_bot and everything.used >= everything.limit:
            return limited(everything.reset_after(now_s), is_global=True)
        bucket = hashlib.sha256(f"{method} {route}".encode()).hexdigest()[:32]
        major = ":".join(parameters[name] for name in MAJOR if name in parameters)
        window = self._window(f"{bucket}:{major}", LIMITS.get((method, route), OTHER_LIMIT), now_s)
        if window.used >= window.limit:
            headers = _headers(window, bucket, now_s)
            return limited(window.reset_after(now_s), is_global=False, headers=headers)
        window.used += 1
        everything.used += is_bot
        return RateDecision(0.0, False, _headers(window, bucket, now_s))

    def _window(self, key: str, limit: tuple[int, float], now_s: float) -> RateWindow:
        window = self._windows.get(key)
        if window is None or window.reset_after(now_s) <= 0:
            window = self._windows[key] = RateWindow(*limit, started_at=now_s)
        return window


def limited(retry_after_s: float, is_global: bool, headers: dict[str, str] | None = None) -> RateDecision:
    """The refusal of a request; Discord rounds the header up to whole seconds."""
    scope = (
        {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"} if is_global else {"X-RateLimit-Scope": "user"}
    )
    return RateDecision(
        max(0.001, round(retry_after_s, 3)),
        is_global,
        (headers or {}) | scope | {"Retry-After": str(max(1, math.ceil(retry_after_s)))},
    )


def _headers(window: RateWindow, bucket: str, now_s: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(window.limit),
        "X-RateLimit-Remaining": str(window.limit - window.used),
        "X-RateLimit-Reset": f"{window.started_at + window.seconds:.3f}",
        "X-RateLimit-Reset-After": f"{window.reset_after(now_s):.3f}",
        "X-RateLimit-Bucket": bucket,
    }
