"""Assembles the bot of a notifier from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

from services.notifier.bot.board import StatusBoard
from services.notifier.bot.bot import BotConfig, DiscordBot, Task
from services.notifier.bot.channel import BotChannel
from services.notifier.bot.commands import alerts, dead_letters, events, model, replay, status, steering, subscriptions
from services.notifier.bot.commands.confirmation import confirmation_buttons
from services.notifier.bot.context import Command
from services.notifier.bot.dispatcher import InteractionResult
from services.notifier.bot.link import BotLink
from services.notifier.bot.records import BotRecords
from services.notifier.settings import NotifierSettings
from shared.runtime.exit_codes import Background
from shared.runtime.metrics import Metrics

COMMANDS: Mapping[str, Command] = {
    **status.COMMANDS,
    **events.COMMANDS,
    **model.COMMANDS,
    **steering.COMMANDS,
    **dead_letters.COMMANDS,
    **replay.COMMANDS,
    **alerts.COMMANDS,
    **subscriptions.COMMANDS,
}
BUTTONS: Mapping[str, Command] = {
    **status.BUTTONS,
    **dead_letters.BUTTONS,
    **alerts.BUTTONS,
    **subscriptions.BUTTONS,
    **confirmation_buttons({**steering.EXECUTES, **dead_letters.EXECUTES, **replay.EXECUTES}),
}


class CreatedBot(NamedTuple):
    """`run` is a background task, `channel` sends for the bot while it leads."""

    run: Background
    channel: BotChannel


def create_bot(
    settings: NotifierSettings, rule_names: Callable[[], Sequence[str]], metrics: Metrics
) -> CreatedBot | None:
    """The bot; None if the settings have no token for it."""
    options = settings.notifier
    if options.bot_token_file is None or options.bot_guild_id is None:
        return None
    config = BotConfig(
        token_file=options.bot_token_file,
        guild_id=options.bot_guild_id,
        roles=options.role_scopes,
        api_token_file=options.bot_api_token_file,
        base_url=options.discord_base_url,
        gateway_url=options.discord_gateway_url,
        replica=settings.service.replica,
        admin=settings.admin,
    )
    board = options.bot_board_channel
    tasks: list[Task] = [] if board is None else [StatusBoard(board)]
    conninfo = settings.database.conninfo("headrace notifier bot")
    for result in get_args(InteractionResult):  # from 0, so that a rate has the first failure
        metrics.bot_interactions_total.labels(result)
    link, records = BotLink(), BotRecords(conninfo, options.bot_addresses)
    bot = DiscordBot(
        config,
        conninfo,
        settings.clock.clock(),
        link,
        COMMANDS,
        BUTTONS,
        tasks,
        rule_names,
        records.record_login,
        metrics,
    )
    return CreatedBot(bot.run, BotChannel(link, records.drop_blocking_person))
