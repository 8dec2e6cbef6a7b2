"""Discord's ids: 64-bit numbers that contain the time in milliseconds since 2015 and increase."""

from __future__ import annotations

from datetime import UTC, datetime

EPOCH_MS = 1_420_070_400_000
# The time of the ids that are the same after every start: the guild, its channels, roles and people.
FIXED_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


def fixed_snowflake(number: int) -> int:
    return ((FIXED_MS - EPOCH_MS) << 22) + number


def created_at(snowflake: int) -> datetime:
    return datetime.fromtimestamp(((snowflake >> 22) + EPOCH_MS) / 1000, UTC)


def timestamp_of(unix_s: float) -> str:
    """A time as Discord writes it."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="microseconds")


class SnowflakeSource:
    """Ids that increase, also within a millisecond."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, unix_s: float) -> int:
        self._last = max(self._last + 1, (int(unix_s * 1000) - EPOCH_MS) << 22)
        return self._last
