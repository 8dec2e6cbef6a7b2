"""Parses days and times from options, and declares the options --from and --to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

import typer

from shared.errors import ConfigError


@dataclass(frozen=True)
class DayOptions:
    """The options for the first and the last day."""

    from_day: Annotated[str | None, typer.Option("--from", metavar="D", help="First day, YYYY-MM-DD.")] = None
    to_day: Annotated[
        str | None, typer.Option("--to", metavar="D", help="Last day, inclusive. [default: the first]")
    ] = None

    def request_days(self) -> dict[str, object]:
        """The days as a request names them; None if an option is missing. Raises ConfigError that names the option."""
        return {"from": validated_day("--from", self.from_day), "to": validated_day("--to", self.to_day)}

    def required_days(self) -> dict[str, object]:
        """Both days; the last one defaults to the first. Raises ConfigError without --from."""
        days = self.request_days()
        if days["from"] is None:
            raise ConfigError("which days? Expected --from YYYY-MM-DD [--to YYYY-MM-DD]")
        return {"from": days["from"], "to": days["to"] or days["from"]}


def parse_day(option: str, text: str) -> date:
    """A day from YYYY-MM-DD. Raises ConfigError that names the option."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: expected a day as YYYY-MM-DD") from None


def validated_day(option: str, text: str | None) -> str | None:
    """A day as YYYY-MM-DD, validated. Raises ConfigError that names the option."""
    return None if text is None else parse_day(option, text).isoformat()


def parse_time(
    option: str, text: str, expected: str = "an ISO time, for example 2026-01-31T12:00:00+09:00", zone: str = "+09:00"
) -> datetime:
    """A time with its zone, from ISO 8601. Raises ConfigError that names the option and what was `expected`.

    `zone` is appended to `text` as an example if the zone is missing.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: expected {expected}") from None
    if at.tzinfo is None:
        raise ConfigError(f"{option} {text}: name the time zone, for example {text}{zone}")
    return at


def parse_day_or_time(option: str, text: str) -> date | datetime:
    """A day from YYYY-MM-DD, or a time with its zone. Raises ConfigError that names the option."""
    expected = "a day as YYYY-MM-DD, or an ISO time with its zone"
    if len(text) > len("YYYY-MM-DD"):
        return parse_time(option, text, expected, "Z")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: expected {expected}") from None
