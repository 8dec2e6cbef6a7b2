"""Reads single values out of a source's JSON: types, bounds, texts and times; what a value means is left to others.

Every reader raises InvalidEvent that says which field, what was expected and what came.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from re import compile as pattern
from typing import Any, NamedTuple

from shared.errors import InvalidEvent

JST = timezone(timedelta(hours=9))
"""Japan Standard Time: the zone of every date and time in the boat race source; it knows no summer time."""

LONGEST_TEXT = 200  # the longest title in 260 days has well under 100 characters
LONGEST_SHOWN = 60
EARLIEST_YEAR = 1950  # the sport is not older

_LOCAL_TIME = pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_UNSTORABLE = pattern("[\x00\ud800-\udfff]")  # PostgreSQL has no NUL in a text, UTF-8 no half of a character
_NUMBER = frozenset((int, float))  # by class: in Python a bool is an int, in JSON it is not
_INTEGER = frozenset((int,))


class Field(NamedTuple):
    """A numeric field: its key in the source, its name in the message, and the least and greatest possible value."""

    key: str
    name: str
    low: float
    high: float


def shown(value: object) -> str:
    """A value as an error may show it: never a dump, whatever came."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**18:  # the repr of a giant integer may itself fail
        return "an integer beyond 10^18"
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def wrong(where: str, expected: str, value: object) -> InvalidEvent:
    return InvalidEvent(f"{where}: expected {expected}, got {shown(value)}")


def _read(row: Mapping[str, Any], fields: Iterable[Field], kinds: frozenset[type[float]], noun: str) -> dict[str, Any]:
    # The hottest loop of the cleaner (some 150 values a card): no call per value, and an unknown leaves no key.
    found: dict[str, Any] = {}
    try:
        for key, name, low, high in fields:
            value: Any = row[key]
            if value is None:
                continue
            if value.__class__ not in kinds or not low <= value <= high:
                raise wrong(key, f"{noun} {low:g}..{high:g} or null", value)
            found[name] = value
    except KeyError as missing:
        raise InvalidEvent(f"expected the field {missing}, got none") from missing
    return found


def numbers(row: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, float]:
    """The known numbers of `fields`, by name. The source writes whole numbers as integers; both are numbers here."""
    return _read(row, fields, _NUMBER, "a number")


def integers(row: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, int]:
    """The known integers of `fields`, by name: codes, counts and ranks, which are never written with a point."""
    return _read(row, fields, _INTEGER, "an integer")


def integer(row: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """An integer that must be there."""
    value = row.get(key)
    if value.__class__ is not int or not low <= value <= high:
        raise wrong(key, f"an integer {low}..{high}", value)
    return value


def text(row: Mapping[str, Any], key: str) -> str | None:
    """A text without spaces around it; an empty one is unknown."""
    try:
        value = row[key]
    except KeyError as missing:
        raise InvalidEvent(f"expected the field {missing}, got none") from missing
    if value is None:
        return None
    if value.__class__ is not str or len(value) > LONGEST_TEXT or _UNSTORABLE.search(value):
        raise wrong(key, f"a text of at most {LONGEST_TEXT} characters (no NUL) or null", value)
    return value.strip() or None


def day(row: Mapping[str, Any], key: str) -> date:
    """A date that must be there, written YYYY-MM-DD."""
    value = row.get(key)
    try:
        found = date.fromisoformat(value) if value.__class__ is str else None
    except ValueError:
        found = None
    # fromisoformat also takes 20260131 and 2026-W05-6; and near year 1 a time in UTC would not exist.
    if found is None or found.isoformat() != value or found.year < EARLIEST_YEAR:
        raise wrong(key, f"a date YYYY-MM-DD since {EARLIEST_YEAR}", value)
    return found


def local_time(row: Mapping[str, Any], key: str, on: date) -> datetime | None:
    """A time of the day `on`, written in JST without a zone; given back as aware UTC."""
    value = text(row, key)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value) if _LOCAL_TIME.fullmatch(value) else None
    except ValueError:
        found = None
    if found is None or found.date() != on:
        raise wrong(key, f"a time YYYY-MM-DD HH:MM:SS (JST) on {on}", value)
    return found.replace(tzinfo=JST).astimezone(UTC)


def midnight(on: date) -> datetime:
    """The instant at which the Japanese day `on` starts, as aware UTC."""
    return datetime(on.year, on.month, on.day, tzinfo=JST).astimezone(UTC)
