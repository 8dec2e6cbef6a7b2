"""The status board: one pinned message, edited at most once a minute.

The message is found again by its footer, so a successor edits the same one.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

import structlog

from services.notifier.bot.answers import Answer, Button, payload_of
from services.notifier.bot.commands.status import REFRESH, read_status, status_embed
from services.notifier.bot.context import BotContext
from services.notifier.bot.interaction import custom_id
from services.notifier.bot.rest import DiscordRest
from services.notifier.channels.base import ChannelBusy, ChannelRefused, ChannelUncertain
from shared.errors import TransientError

MARK = "Headrace status board"
EDIT_S = 60.0
FIRST_TRY_S = 5.0
log = structlog.get_logger("notifier.bot")


class StatusBoard:
    """The board in one channel."""

    def __init__(self, channel_id: int, edit_s: float = EDIT_S) -> None:
        self._channel_id = channel_id
        self._edit_s = edit_s

    async def run(self, context: BotContext, rest: DiscordRest) -> None:
        """Keep the board up to date until the task is cancelled."""
        message_id: int | None = None
        while True:
            wait_s = self._edit_s
            try:
                message_id = await self._show(context, rest, message_id)
            except ChannelRefused as error:
                # Someone deleted the message, or the bot may not write here.
                log.warning("bot_board_refused", error=str(error))
                message_id = None
            except (ChannelBusy, ChannelUncertain, TransientError) as error:
                log.warning("bot_board_failed", error=str(error))
                wait_s = max(FIRST_TRY_S, getattr(error, "retry_after_s", None) or 0.0)
            await asyncio.sleep(wait_s)

    async def _show(self, context: BotContext, rest: DiscordRest, message_id: int | None) -> int:
        reading = await context.database.call(read_status, context.clock.now())
        embed = status_embed(reading)
        embed = replace(embed, footer=f"{MARK} · {embed.footer}")
        body = payload_of(Answer((embed,), (Button("Refresh", custom_id(REFRESH)),)))
        if message_id is None:
            message_id = await self._existing(rest)
        if message_id is None:
            # A new nonce each time: with the old one, Discord would return a board that was deleted.
            message_id = await rest.create_message(self._channel_id, body, nonce=secrets.token_hex(8))
            await rest.pin(self._channel_id, message_id)
        else:
            await rest.edit_message(self._channel_id, message_id, body)
        return message_id

    async def _existing(self, rest: DiscordRest) -> int | None:
        """The board of an earlier leader, which may have died before it pinned it."""
        message_id = await rest.find_pinned(self._channel_id, MARK)
        if message_id is None:
            message_id = await rest.find_message(self._channel_id, MARK)
            if message_id is not None:
                await rest.pin(self._channel_id, message_id)
        return message_id
