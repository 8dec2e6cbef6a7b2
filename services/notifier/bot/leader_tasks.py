"""The leader's tasks beside receiving events: publish the commands, store its session, delete old interactions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from services.notifier.bot.client import BotSession, DiscordClient, TokenRefused
from services.notifier.bot.context import Database
from services.notifier.bot.rest import DiscordRest
from services.notifier.channels.base import ChannelBusy, ChannelRefused
from services.notifier.storage import postgres_interactions as inbox
from services.notifier.storage.postgres_bot_state import SESSION, write_bot_state
from shared.backoff import Backoff
from shared.errors import TransientError

PURGE_S = 600.0
STORE_SESSION_S = 0.5
PUBLISH_BACKOFF = Backoff(1.0, 60.0)
log = structlog.get_logger("notifier.bot")


async def publish_commands(rest: DiscordRest, application_id: int, definitions: Sequence[Mapping[str, object]]) -> None:
    """Publish the commands. Without them, buttons and messages still work."""
    failures = 0
    while True:
        try:
            await rest.publish_commands(application_id, definitions)
        except ChannelBusy as busy:
            failures += 1
            await asyncio.sleep(busy.retry_after_s or PUBLISH_BACKOFF.delay_s(failures))
        except TokenRefused:
            raise
        except ChannelRefused as error:
            log.warning("bot_commands_refused", error=str(error))
            return
        else:
            log.info("bot_commands_published", commands=len(definitions))
            return


async def store_session(client: DiscordClient, database: Database) -> None:
    """Store the session while it advances, so that the successor of a killed leader resumes it."""
    stored: BotSession | None = None
    while True:
        if (session := client.session) is not None and session != stored:
            with suppress(TransientError):
                await database.call(write_bot_state, SESSION, session._asdict())
                stored = session
        await asyncio.sleep(STORE_SESSION_S)


async def purge_interactions(database: Database) -> None:
    """Delete old interactions now and then."""
    while True:
        with suppress(TransientError):
            await database.call(inbox.purge)
        await asyncio.sleep(PURGE_S)
