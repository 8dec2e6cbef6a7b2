"""A test message to the bot's channel, from the request to the message on Discord."""

from __future__ import annotations

from pathlib import Path

from headrace.database.embedded import EmbeddedPostgres
from services.notifier.api.destinations import Destinations
from services.notifier.api.notifications import delivery_progress, router
from services.notifier.settings import NotifierSection, NotifierSettings
from simulator.discord.fake import FakeDiscord
from tests.services.endpoints import finished_operation, served, settings_of
from tests.services.notifier.books import default_book
from tests.services.notifier.bot.running import RunningBot
from tests.services.notifier.sending import sending


def test_a_test_message_reaches_the_channel_of_the_bot(
    fake: FakeDiscord, bot: RunningBot, postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    channel = fake.channel("races")
    section = NotifierSection(bot_token_file=bot.token_file, bot_guild_id=fake.guild_id, bot_channel=channel.id)
    destinations = Destinations(section, ["console", bot.channel.name], default_book)

    with (
        served(settings, lambda context: router(context, destinations)) as client,
        sending(settings.database.conninfo(), bot.channel),
    ):
        response = client.post("/test", json={"channels": ["discord-bot"]})
        operation = finished_operation(client, response, settings, "test", delivery_progress)

    assert (operation["state"], operation["counts"]) == ("succeeded", {f"discord-bot/channel/{channel.id}": "sent"})
    [shown] = fake.messages(channel)
    assert operation["id"] in shown.embeds[0]["title"]
