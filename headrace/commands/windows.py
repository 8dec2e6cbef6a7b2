"""headrace windows, headrace backfill, headrace export: days to be fetched, and days to be written out."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
)
from headrace.commands.remote import TokenFileOption, UrlOption, WaitOption, conclude, give
from headrace.options import day
from headrace.rest import api
from shared.errors import ConfigError

COLUMNS = ("date", "feed", "state", "attempts", "error")
FromOption = Annotated[str | None, typer.Option("--from", metavar="D", help="First day, YYYY-MM-DD.")]
ToOption = Annotated[str | None, typer.Option("--to", metavar="D", help="Last day, inclusive. [default: the first]")]


def windows(
    from_day: FromOption = None,
    to_day: ToOption = None,
    state: Annotated[str | None, typer.Option(metavar="live|done|failed", help="In this state.")] = None,
    after: Annotated[str | None, typer.Option(metavar="NEXT", help="The page before's `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 100,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """The windows (feed and day) that the fetcher visited, and what came of them."""
    given = {"from": _day("--from", from_day), "to": _day("--to", to_day), "state": state, "after": after}
    with api(settings_of(data_dir, database, config), "fetcher", url, token_file) as asked:
        page = asked.get("/windows", limit=limit, **given)
    give(output, page, COLUMNS, lambda: [[each[name] for name in COLUMNS] for each in page["windows"]], "no windows")


def backfill(
    from_day: FromOption = None,
    to_day: ToOption = None,
    feed: Annotated[list[str] | None, typer.Option(metavar="FEED", help="Only this one; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also windows that are done; what changed is told.")] = False,
    wait: WaitOption = False,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Let the fetcher fetch more days, beside what it does."""
    wish = _span(from_day, to_day) | ({"feeds": feed} if feed else {}) | ({"again": True} if again else {})
    with api(settings_of(data_dir, database, config), "fetcher", url, token_file) as asked:
        conclude(asked, asked.post("/backfills", wish), wait, output)


def export(
    from_day: FromOption = None,
    to_day: ToOption = None,
    wait: WaitOption = False,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Let the loader write the CSV files of some days anew."""
    with api(settings_of(data_dir, database, config), "loader", url, token_file) as asked:
        conclude(asked, asked.post("/exports", _span(from_day, to_day)), wait, output)


def _span(from_day: str | None, to_day: str | None) -> dict[str, object]:
    first = _day("--from", from_day)
    if first is None:
        raise ConfigError("which days? --from YYYY-MM-DD [--to YYYY-MM-DD]")
    return {"from": first, "to": _day("--to", to_day) or first}


def _day(option: str, text: str | None) -> str | None:
    found = day(option, text)
    return found.isoformat() if found else None
