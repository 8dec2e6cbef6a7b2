"""headrace lag, headrace trail: how far behind everybody is, and who did what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
)
from headrace.commands.remote import MaybeServiceArgument, TokenFileOption, UrlOption, give, services_of
from headrace.rest import NotRunningError, api
from shared.settings import Settings

LAG = ("service", "topic", "partition", "position", "end", "records", "seconds", "ignored_group_offset")
TRAIL = ("id", "at", "service", "who", "action", "target", "outcome", "request_id")


def lag(
    service: MaybeServiceArgument = None,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """How many records wait for each service, partition by partition, and for how long the oldest has."""
    settings = settings_of(data_dir, database, config)
    found = _of_each(settings, service, "/lag", url, token_file)
    body = [{"service": name, **each} for name, partitions in found for each in partitions]
    give(output, body, LAG, lambda: [[each.get(column) for column in LAG] for each in body], "nobody reads anything")


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
    found = _of_each(settings, service, "/audit", url, token_file, before=before, limit=limit)
    lines = [line for _, page in found for line in page["lines"]]
    lines.sort(key=lambda line: int(line["id"]), reverse=True)
    give(output, lines, TRAIL, lambda: [[line[column] for column in TRAIL] for line in lines], "nobody did anything")


def _of_each(
    settings: Settings, service: Any, path: str, url: str | None, token_file: Any, **params: Any
) -> list[tuple[str, Any]]:
    """What every service that runs answers; where one was named, it has to."""
    found = []
    for name in services_of(service):
        try:
            with api(settings, name, url, token_file) as asked:
                found.append((name, asked.get(path, **params)))
        except NotRunningError:
            if service is not None:
                raise
    if not found:
        raise NotRunningError("no service is running: `headrace run` starts them")
    return found
