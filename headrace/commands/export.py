"""headrace export."""

from __future__ import annotations

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
        conclude(asked, asked.post("/exports", span_of(from_day, to_day)), wait, output)
