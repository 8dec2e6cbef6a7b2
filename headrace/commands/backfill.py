"""headrace backfill."""

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
from headrace.commands.days import FromOption, ToOption, span_of
from headrace.commands.remote import TokenFileOption, UrlOption, WaitOption, conclude
from headrace.rest import api


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
    wish = span_of(from_day, to_day) | ({"feeds": feed} if feed else {}) | ({"again": True} if again else {})
    with api(settings_of(data_dir, database, config), "fetcher", url, token_file) as asked:
        conclude(asked, asked.post("/backfills", wish), wait, output)
