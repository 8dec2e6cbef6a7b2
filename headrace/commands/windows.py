"""headrace windows."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.commands.asking import Asking, asks
from headrace.commands.days import FromOption, ToOption, day_of_option
from headrace.commands.remote import give

COLUMNS = ("date", "feed", "state", "attempts", "error")


@asks
def windows(
    asking: Asking,
    from_day: FromOption = None,
    to_day: ToOption = None,
    state: Annotated[str | None, typer.Option(metavar="live|done|failed", help="In this state.")] = None,
    after: Annotated[str | None, typer.Option(metavar="NEXT", help="The page before's `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 100,
) -> None:
    """The windows (feed and day) that the fetcher visited, and what came of them."""
    given = {
        "from": day_of_option("--from", from_day),
        "to": day_of_option("--to", to_day),
        "state": state,
        "after": after,
    }
    with asking.api("fetcher") as asked:
        page = asked.get("/windows", limit=limit, **given)
    give(
        asking.output,
        page,
        COLUMNS,
        lambda: [[each[name] for name in COLUMNS] for each in page["windows"]],
        "no windows",
    )
