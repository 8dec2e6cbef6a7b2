"""headrace pause."""

from __future__ import annotations

from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
)
from headrace.commands.remote import ServiceArgument, TokenFileOption, UrlOption, WaitOption
from headrace.commands.steering import AllOption, ReasonOption, TopicsArgument, asked_for, steer_service


def pause(
    service: ServiceArgument,
    topics: TopicsArgument = None,
    all_: AllOption = False,
    wait: WaitOption = False,
    reason: ReasonOption = None,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Let a service stop handling a topic, in all its replicas, also those that start later, until it is resumed.

    With --wait until every partition's owner has obeyed. A service that does not run obeys when it is started.
    """
    settings = settings_of(data_dir, database, config)
    wish = {"reason": reason} if reason else {}
    steer_service(
        settings, service.value, asked_for(service.value, topics, all_), "paused", wish, wait, output, url, token_file
    )
