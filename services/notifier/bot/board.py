"""The status board: one pinned message, edited at most once a minute.

The message is stored, and found again by its footer, so a successor edits the same one.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

import structlog

from services.notifier.bot.answers import Answer, Button, payload_of
from services.notifier.bot.client import TokenRefused
from services.notifier.bot.commands.status import REFRESH, read_status, status_embed
from services.notifier.bot.context import BotContext
from services.notifier.bot.interaction import custom_id
from services.notifier.bot.rest import DiscordRest, UnknownTarget
from services.notifier.channels.base import ChannelBusy, ChannelRefused, ChannelUncertain
from services.notifier.storage.postgres_bot_state import BOARD, read_bot_state, write_bot_state
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
            except TokenRefused:
                raise
            except ChannelRefused as error:
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
        shown = message_id or await self._existing(context, rest)
        if shown is not None:
            try:
                await rest.edit_message(self._channel_id, shown, body)
            except UnknownTarget:  # someone deleted it
                shown = None
        if shown is None:
            # A new nonce each time: with the old one, Discord would return a board that was deleted.
            shown = await rest.create_message(self._channel_id, body, nonce=secrets.token_hex(8))
        if shown != message_id:
            place = {"channel": str(self._channel_id), "message": str(shown)}
            await context.database.call(write_bot_state, BOARD, place)
            await self._pin(rest, shown)
        return shown

    async def _existing(self, context: BotContext, rest: DiscordRest) -> int | None:
        """The board of an earlier leader: as stored, or else found by its footer."""
        state = await context.database.call(read_bot_state, BOARD)
        if state is not None and state.value["channel"] == str(self._channel_id):
            return int(state.value["message"])
        try:
            pinned = await rest.find_pinned(self._channel_id, MARK)
            return pinned or await rest.find_message(self._channel_id, MARK)
        except ChannelRefused as error:
            log.warning("bot_board_history_refused", error=str(error))
            return None

    async def _pin(self, rest: DiscordRest, message_id: int) -> None:
        try:
            await rest.pin(self._channel_id, message_id)
        except ChannelRefused as error:
            log.warning("bot_board_not_pinned", error=str(error))
