"""Reads the instant of a question about the past."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.frames.errors import BadArgument

EXAMPLE = '"2026-01-31T12:00+09:00"'


def instant_of(value: str | datetime) -> datetime:
    """The instant in UTC. Raises BadArgument without a time zone, because noon is another instant in every zone."""
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value.strip())
        except ValueError:
            raise BadArgument(f"as_of is an instant, such as {EXAMPLE}; got {value!r}") from None
    elif isinstance(value, datetime):
        instant = value
    else:
        raise BadArgument(f"as_of is an instant, such as {EXAMPLE}, or a datetime with a time zone; got {value!r}")
    if instant != instant:  # noqa: PLR0124 NaT
        raise BadArgument(f"as_of is an instant, such as {EXAMPLE}; got no time (NaT)")
    if instant.utcoffset() is None:
        text = instant.isoformat(timespec="minutes")
        raise BadArgument(
            f'as_of needs a time zone, got {text}: write "{text}+09:00" for the time in Japan, "{text}Z" for UTC'
        )
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise BadArgument(f"as_of is not in the calendar: {value!r}") from None
