"""headrace trail."""

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
from headrace.commands.remote import MaybeServiceArgument, TokenFileOption, UrlOption, give, of_each

TRAIL = ("id", "at", "service", "who", "action", "target", "outcome", "request_id")


def trail(
    service: MaybeServiceArgument = None,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Older than this line.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many, of each service.")] = 50,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Who asked a service for what, and what came of it; the newest first. Nobody can change a line."""
    settings = settings_of(data_dir, database, config)
    found = of_each(settings, service, "/audit", url, token_file, before=before, limit=limit)
    lines = [line for _, page in found for line in page["lines"]]
    lines.sort(key=lambda line: int(line["id"]), reverse=True)
    give(output, lines, TRAIL, lambda: [[line[column] for column in TRAIL] for line in lines], "nobody did anything")
