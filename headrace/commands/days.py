"""The options of commands that are about days."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.options import day
from shared.errors import ConfigError

FromOption = Annotated[str | None, typer.Option("--from", metavar="D", help="First day, YYYY-MM-DD.")]
ToOption = Annotated[str | None, typer.Option("--to", metavar="D", help="Last day, inclusive. [default: the first]")]


def span_of(from_day: str | None, to_day: str | None) -> dict[str, object]:
    """The body of a request. Raises ConfigError that says which option is wrong."""
    first = day_of_option("--from", from_day)
    if first is None:
        raise ConfigError("which days? --from YYYY-MM-DD [--to YYYY-MM-DD]")
    return {"from": first, "to": day_of_option("--to", to_day) or first}


def day_of_option(option: str, text: str | None) -> str | None:
    found = day(option, text)
    return found.isoformat() if found else None
