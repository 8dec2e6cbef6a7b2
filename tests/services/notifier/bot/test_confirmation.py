"""The first of the buttons *Confirm* and *Cancel* decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import aiohttp
import pytest

from services.notifier.bot.admin_api import AdminApi
from services.notifier.bot.answers import Answer, note
from services.notifier.bot.commands.confirmation import CANCEL, CONFIRM, confirmation_buttons
from services.notifier.bot.context import BotContext, Database
from services.notifier.bot.interaction import Interaction, custom_id, interaction_of
from services.notifier.storage import postgres_interactions as inbox
from shared.clock import SystemClock
from tests.services.notifier.bot.payloads import GUILD, click, command

QUESTION_ID = 41


class Buttons:
    """The buttons below the preview of one `/pause`, whose changes are counted."""

    def __init__(self, database: Database) -> None:
        self.changes = 0
        self._database = database
        self._ids = count(100)
        self._buttons = confirmation_buttons({"pause": self._execute})

    async def _execute(self, _: BotContext, __: Interaction, ___: str) -> AsyncIterator[Answer]:
        self.changes += 1
        yield note("paused")

    async def click(self, action: str) -> list[str]:
        """The texts of the answers."""
        payload = click(custom_id(action, f"{QUESTION_ID}:"), next(self._ids))
        await self._database.call(inbox.receive, payload, "a")
        async with aiohttp.ClientSession() as session:
            api = AdminApi(session, str, lambda _: asyncio.sleep(0, []))
            context = BotContext(self._database, api, SystemClock(), GUILD, {}, list)
            answers = self._buttons[action].handle(context, interaction_of(payload))
            return [answer.embeds[0].description async for answer in answers]


@pytest.fixture
def buttons(database_url: str) -> Iterator[Buttons]:
    database = Database(database_url)
    asyncio.run(database.call(inbox.receive, command("pause", QUESTION_ID), "a"))
    yield Buttons(database)
    database.close()


def test_what_was_cancelled_cannot_be_confirmed(buttons: Buttons) -> None:
    assert asyncio.run(buttons.click(CANCEL)) == ["Cancelled. Nothing was changed."]
    assert asyncio.run(buttons.click(CONFIRM)) == ["Cancelled. Nothing was changed."]
    assert buttons.changes == 0


def test_what_was_confirmed_is_not_shown_as_cancelled(buttons: Buttons) -> None:
    assert asyncio.run(buttons.click(CONFIRM)) == ["paused"]
    assert asyncio.run(buttons.click(CANCEL)) == []
    assert asyncio.run(buttons.click(CONFIRM)) == ["paused"]
