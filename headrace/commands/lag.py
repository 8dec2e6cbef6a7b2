"""headrace lag."""

from __future__ import annotations

from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
)
from headrace.commands.remote import MaybeServiceArgument, TokenFileOption, UrlOption, give, of_each

LAG = ("service", "topic", "partition", "position", "end", "records", "seconds", "ignored_group_offset")


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
    found = of_each(settings, service, "/lag", url, token_file)
    body = [{"service": name, **each} for name, partitions in found for each in partitions]
    give(output, body, LAG, lambda: [[each.get(column) for column in LAG] for each in body], "nobody reads anything")
