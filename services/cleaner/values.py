"""Reads single values from a source's JSON and checks type, bounds and format.

Every reader raises InvalidEvent with the field, the expected value and the actual value.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from re import compile as pattern
from typing import Any, NamedTuple

from shared.errors import InvalidEvent

JST = timezone(timedelta(hours=9))
"""Japan Standard Time, the zone of all dates and times in the boat race source; it has no daylight saving time."""

LONGEST_TEXT = 200  # the longest title of 260 days has well under 100 characters
LONGEST_SHOWN = 60
EARLIEST_YEAR = 1950  # the sport began later

_LOCAL_TIME = pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_UNSTORABLE = pattern("[\x00\ud800-\udfff]")  # PostgreSQL stores no NUL in a text, UTF-8 has no lone surrogates
_NUMBER = frozenset((int, float))  # compared by class, because a bool is an int in Python but not in JSON
_INTEGER = frozenset((int,))


class NumericField(NamedTuple):
    """A numeric field: its key in the source, its name in the message, its lowest and highest possible value."""

    key: str
    name: str
    low: float
    high: float


def describe(value: object) -> str:
    """The value for an error message, always short: objects and arrays by size, texts cut."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**18:  # repr() of a huge integer may raise
        return "an integer beyond 10^18"
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def unexpected(where: str, expected: str, value: object) -> InvalidEvent:
    """The error for a value that is not as expected; `where` is the field."""
    return InvalidEvent(f"{where}: expected {expected}, got {describe(value)}")


def _read_fields(
    row: Mapping[str, Any], fields: Iterable[NumericField], kinds: frozenset[type[float]], noun: str
) -> dict[str, Any]:
    # The hottest loop of the cleaner (about 150 values per card): no call per value. Unknown values get no key.
    values: dict[str, Any] = {}
    try:
        for key, name, low, high in fields:
            value: Any = row[key]
            if value is None:
                continue
            if value.__class__ not in kinds or not low <= value <= high:
                raise unexpected(key, f"{noun} {low:g}..{high:g} or null", value)
            values[name] = value
    except KeyError as missing:
        raise InvalidEvent(f"expected the field {missing}, got none") from missing
    return values


def numbers(row: Mapping[str, Any], fields: Iterable[NumericField]) -> dict[str, float]:
    """The known values of `fields`, by name: ints or floats, since the source writes whole numbers as integers."""
    return _read_fields(row, fields, _NUMBER, "a number")


def integers(row: Mapping[str, Any], fields: Iterable[NumericField]) -> dict[str, int]:
    """The known values of `fields`, by name: codes, counts and ranks. A float such as 1.0 is refused."""
    return _read_fields(row, fields, _INTEGER, "an integer")


def integer(row: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """A required integer."""
    value = row.get(key)
    if value.__class__ is not int or not low <= value <= high:
        raise unexpected(key, f"an integer {low}..{high}", value)
    return value


def text(row: Mapping[str, Any], key: str) -> str | None:
    """A text without surrounding spaces; None if it is null or empty."""
    try:
        value = row[key]
    except KeyError as missing:
        raise InvalidEvent(f"expected the field {missing}, got none") from missing
    if value is None:
        return None
    if value.__class__ is not str or len(value) > LONGEST_TEXT or _UNSTORABLE.search(value):
        raise unexpected(key, f"a text of at most {LONGEST_TEXT} characters (no NUL) or null", value)
    return value.strip() or None


def day(row: Mapping[str, Any], key: str) -> date:
    """A required date, written YYYY-MM-DD."""
    value = row.get(key)
    try:
        parsed_date = date.fromisoformat(value) if value.__class__ is str else None
    except ValueError:
        parsed_date = None
    # fromisoformat also accepts 20260131 and 2026-W05-6. Near year 1, the conversion to UTC would fail.
    if parsed_date is None or parsed_date.isoformat() != value or parsed_date.year < EARLIEST_YEAR:
        raise unexpected(key, f"a date YYYY-MM-DD since {EARLIEST_YEAR}", value)
    return parsed_date


def local_time(row: Mapping[str, Any], key: str, on: date) -> datetime | None:
    """A time on the day `on`, written in JST without a zone, as aware UTC; None if it is null or empty."""
    value = text(row, key)
    if value is None:
        return None
    try:
        local = datetime.fromisoformat(value) if _LOCAL_TIME.fullmatch(value) else None
    except ValueError:
        local = None
    if local is None or local.date() != on:
        raise unexpected(key, f"a time YYYY-MM-DD HH:MM:SS (JST) on {on}", value)
    return local.replace(tzinfo=JST).astimezone(UTC)


def midnight(on: date) -> datetime:
    """The start of the day `on` in JST, as aware UTC."""
    return datetime(on.year, on.month, on.day, tzinfo=JST).astimezone(UTC)
