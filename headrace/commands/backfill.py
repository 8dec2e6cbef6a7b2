"""headrace backfill."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.commands.asking import Asking, asks
from headrace.commands.days import FromOption, ToOption, span_of
from headrace.commands.remote import WaitOption, conclude


@asks
def backfill(
    asking: Asking,
    from_day: FromOption = None,
    to_day: ToOption = None,
    feed: Annotated[list[str] | None, typer.Option(metavar="FEED", help="Only this one; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also windows that are done; what changed is told.")] = False,
    wait: WaitOption = False,
) -> None:
    """Let the fetcher fetch more days, beside what it does."""
    wish = span_of(from_day, to_day) | ({"feeds": feed} if feed else {}) | ({"again": True} if again else {})
    with asking.api("fetcher") as asked:
        conclude(asked, asked.post("/backfills", wish), wait, asking.output)
