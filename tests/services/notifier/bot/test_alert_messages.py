"""The message of an incident on Discord, with the text of a rule's template."""

from __future__ import annotations

from typing import Any

import psycopg

from services.notifier.alerts import postgres_incidents as storage
from services.notifier.alerts.conditions import Condition
from simulator.discord.fake import FakeDiscord
from tests.services.notifier.alerts.incident_samples import DOWN
from tests.services.notifier.books import book_of
from tests.services.notifier.bot.running import RunningBot
from tests.services.notifier.sending import sending

TEMPLATE = """\
**{{ title }}: {{ subject }}** is {{ state }}
{{ summary }}
"""


def test_a_template_changes_title_and_text_of_an_embed_and_neither_its_button_nor_its_thread(
    fake: FakeDiscord, bot: RunningBot, database: psycopg.Connection[Any], database_url: str
) -> None:
    channel = fake.channel("alerts")
    book = book_of(stage_down={"finding": "stage-down", "template": TEMPLATE})
    down = Condition("stage-down", "loader", "critical", {**DOWN, "reasons": ["loader-0: ended"]})

    with sending(database_url, bot.channel):
        incident = storage.open_incident(database, "stage-down", down, [f"discord-bot/channel/{channel.id}"], book)
        assert incident is not None
        [shown] = fake.wait_for(lambda: fake.messages(channel))
        assert shown.embeds[0]["title"] == "Stage down: loader is open"
        assert shown.embeds[0]["description"] == "0 of 1 replicas work.\nloader-0: ended"
        [[button]] = [row["components"] for row in shown.components]
        assert button["custom_id"] == f"hr:ack:{incident.id}"
        thread = fake.wait_for(lambda: fake.simulation.state.guild.channels.get(shown.id))
        details = fake.wait_for(lambda: [each for each in fake.messages(thread) if each.embeds])
        assert details[0].embeds[0]["description"].startswith("loader-0: ended\nLast heartbeat: ")

        storage.acknowledge_incident(database, incident.id, "token:a", book)
        fake.wait_for(lambda: shown.embeds[0]["title"] == "Stage down: loader is acknowledged")
        assert not shown.components
        fake.wait_for(lambda: fake.edits(details[0]))

    assert thread.name == "Stage down: loader is open"
    assert len(fake.messages(channel)) == 1
