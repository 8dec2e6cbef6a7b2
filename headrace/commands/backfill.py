"""The command `headrace backfill`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import Asking
from headrace.remote.services import WaitOption, conclude
from headrace.terminal.arguments import grouped_options
from headrace.terminal.days import DayOptions


@grouped_options
def backfill(
    asking: Asking,
    days: DayOptions,
    feed: Annotated[list[str] | None, typer.Option(metavar="FEED", help="Only this feed; may be repeated.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also windows that are done; only changes are published.")
    ] = False,
    wait: WaitOption = False,
) -> None:
    """Fetch more days, in addition to the fetcher's own windows."""
    wish = days.span() | ({"feeds": feed} if feed else {}) | ({"again": True} if again else {})
    with asking.api("fetcher") as asked:
        conclude(asked, asked.post("/backfills", wish), wait, asking.output)
