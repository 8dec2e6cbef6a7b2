"""The command `headrace windows`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import ApiOptions
from headrace.terminal.arguments import WideOption, grouped_options
from headrace.terminal.days import DayOptions
from headrace.terminal.output import print_answer

COLUMNS = ("date", "feed", "state", "attempts", "error")


@grouped_options
def windows(
    api_options: ApiOptions,
    days: DayOptions,
    state: Annotated[str | None, typer.Option(metavar="live|done|suspect|failed", help="Only this state.")] = None,
    after: Annotated[str | None, typer.Option(metavar="NEXT", help="Continue after a page: its `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 100,
    wide: WideOption = False,
) -> None:
    """List the windows (feed and day) that the fetcher visited, with their states and errors."""
    params = days.request_days() | {"state": state, "after": after, "limit": limit}
    with api_options.open_api("fetcher") as client:
        page = client.get("/windows", **params)
    print_answer(api_options.output, page, COLUMNS, page["windows"], "no windows", wide=wide)
