"""The command `headrace backfill`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.services import WaitOption, print_operation
from headrace.terminal.arguments import grouped_options
from headrace.terminal.days import DayOptions


@grouped_options
def backfill(
    api_options: ApiOptions,
    days: DayOptions,
    feed: Annotated[list[str] | None, typer.Option(metavar="FEED", help="Only this feed; may be repeated.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also windows that are done; only changes are published.")
    ] = False,
    wait: WaitOption = False,
) -> None:
    """Fetch more days, in addition to the fetcher's own windows."""
    request = days.required_days() | ({"feeds": feed} if feed else {}) | ({"again": True} if again else {})
    with api_options.open_api("fetcher") as client:
        print_operation(client, client.post("/backfills", request), wait, api_options.output)
